// An insurer in Node with nothing but `jose`: token, inbox, registry, open, compare, acknowledge, decide.
//
// Serve a sandbox with `make run`, hand in a bill with `examples/hospital.py`, then:
//
//     cd examples/insurer-node && npm ci
//     node insurer.js ../../build/demo
//
// It answers the next claim to `ins-lantau` and prints what it verified, what it decided and what the gateway made of
// it. It ends with 0 once a claim has been answered, and with 1 if something does not verify, if an answer is rejected,
// or if no claim came in 120 seconds. `exchange.js` beside it signs, verifies, opens and seals, `compare.js` holds the
// content against what was signed.

import { randomBytes, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { compare } from "./compare.js";
import { insist, open, openRelease, seal, sealKeyOf, sha256, sign } from "./exchange.js";

const profile = JSON.parse(readFileSync(join(process.argv[2], "profiles", "ins-lantau-system.json")));
const hk = profile.base_url + profile.roles.hk;
const newId = (prefix) => `${prefix}_${randomUUID().replaceAll("-", "")}`;

// HTTP with a token by private_key_jwt (RFC 7523).

async function request(method, path, { headers = {}, body } = {}) {
  const answer = await fetch(hk + path, { method, headers, body });
  const json = await answer.json().catch(() => ({}));
  insist(answer.ok, `${method} ${path}: ${answer.status} ${json.code} ${json.fix ?? ""} ${JSON.stringify(json.errors ?? "")}`);
  return json;
}

async function logIn() {
  const now = Math.floor(Date.now() / 1000);
  const { client_id } = profile;
  const claims = { iss: client_id, sub: client_id, aud: `${hk}/oauth/token`, jti: newId("jti"), iat: now, exp: now + 240 };
  const form = new URLSearchParams({
    grant_type: "client_credentials",
    client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    client_assertion: await sign(claims, profile.token_key, "JWT"),
    scope: profile.scopes.join(" "),
  });
  return { Authorization: `Bearer ${(await request("POST", "/oauth/token", { body: form })).access_token}` };
}

// Answers: a signed manifest and, where it says something about a person, a sealed FHIR ClaimResponse.

const answerTo = (claim, type) => ({
  msg_id: newId("msg"),
  type,
  case_id: claim.case_id,
  claim_id: claim.claim_id,
  claim_version: claim.claim_version,
  in_reply_to: claim.msg_id,
  sender: profile.party,
  recipients: [claim.sender],
  sent_at: new Date().toISOString(),
});

async function post(token, manifest, dossier) {
  const body = JSON.stringify({ manifest: await sign(manifest, profile.sign_key, "szhk-manifest+jws"), dossier });
  // the message id is the idempotency key: the same bytes may be posted again when no answer came
  const headers = { ...token, "Content-Type": "application/json", "Idempotency-Key": manifest.msg_id };
  await request("POST", "/v1/messages", { headers, body });
  for (;;) {
    const outcome = await request("GET", `/v1/requests/${manifest.msg_id}`, { headers: token });
    insist(outcome.status !== "rejected", `${manifest.type} is rejected: ${outcome.code}`);
    if (outcome.status === "accepted") return outcome;
    await sleep(300);
  }
}

// Pays every line but the last, which the policy does not cover (class code G003).
function entriesFor({ line_amounts_minor: amounts }) {
  return amounts.map((amount, line) => {
    const covered = line < amounts.length - 1;
    const shares = { benefit_minor: covered ? amount : 0, patient_minor: covered ? 0 : amount };
    const entry = { lines: [line], ...shares, other_payer_minor: 0, adjusted_minor: 0 };
    return covered ? entry : { ...entry, class_code: "G003" };
  });
}

function claimResponse(claim, entries) {
  const adjudication = (system, code) => ({ coding: [{ system, code }] });
  const hl7 = (code) => adjudication("http://terminology.hl7.org/CodeSystem/adjudication", code);
  const money = (amountMinor) => ({ value: amountMinor / 100, currency: claim.currency });
  const ofEntry = (index) => [{ url: "urn:szhk:entry", valueInteger: index }];
  const party = (code) => ({ identifier: { system: "urn:szhk:id:party", value: code } });
  const named = { identifier: { system: "urn:szhk:id:claim", value: claim.claim_id } };
  const benefit = entries.reduce((sum, entry) => sum + entry.benefit_minor, 0);
  const left = entries.length - 1;
  const texts = { en: "Not covered by the policy.", "zh-Hant": "不屬保單承保範圍。" };
  return {
    resourceType: "ClaimResponse",
    extension: [
      // a nonce of 32 bytes keeps the content's hash from being guessed
      { url: "urn:szhk:nonce", valueString: randomBytes(32).toString("base64url") },
      { url: "urn:szhk:extension:decision-version", valueInteger: 1 },
    ],
    status: "active",
    type: adjudication("http://terminology.hl7.org/CodeSystem/claim-type", "institutional"),
    use: "claim",
    patient: { type: "Patient", ...named },
    created: new Date().toISOString(),
    insurer: party(claim.recipients[0]),
    requestor: party(claim.sender),
    request: { type: "Claim", ...named },
    outcome: "complete",
    item: entries.map((entry, index) => ({
      extension: ofEntry(index),
      itemSequence: entry.lines[0] + 1,
      adjudication: [{ category: hl7("benefit"), amount: money(entry.benefit_minor) }],
    })),
    adjudication: [{ extension: ofEntry(left), category: hl7("copay"), amount: money(entries[left].patient_minor) }],
    total: [{ category: hl7("benefit"), amount: money(benefit) }],
    processNote: Object.entries(texts).map(([code, text], index) => ({
      extension: ofEntry(left),
      number: index + 1,
      type: "display",
      text,
      language: adjudication("urn:ietf:bcp:47", code),
    })),
  };
}

async function decide(token, keys, claim, revision) {
  const entries = entriesFor(claim);
  const resource = claimResponse(claim, entries);
  const entry = [{ fullUrl: "urn:szhk:resource:claim-response", resource }];
  const bundle = { resourceType: "Bundle", type: "collection", timestamp: resource.created, entry };
  const packed = gzipSync(JSON.stringify(bundle));
  const decision = { based_on: revision, decision_version: 1, currency: claim.currency, final: true, entries };
  const manifest = { ...answerTo(claim, "decided"), content_sha256: sha256(packed), ...decision };
  // sealed to the hospital, and to ourselves for our archive
  const dossier = await seal(packed, [sealKeyOf(keys, claim.sender), sealKeyOf(keys, profile.party)]);
  return post(token, manifest, dossier);
}

// One claim after the other, until one has been answered.

async function answer(token, keys, item) {
  const { allowed_actions, revision } = await request("GET", `/v1/claims/${item.claim_id}`, { headers: token });
  if (!allowed_actions.includes("acknowledge")) return false;
  const exchange = await request("GET", `/v1/messages/${item.msg_id}`, { headers: token });
  const { manifest: claim, bundle } = await open(exchange, keys, profile);
  insist(claim.msg_id === item.msg_id, "the inbox gave another message");
  console.log(`claim ${claim.claim_id} from ${claim.sender}: registry, stamp, receipt, signature and seal verified`);
  const differences = compare(claim, bundle);
  console.log(`differences between content and manifest: ${differences.length}`);
  if (differences.length > 0) {
    await post(token, { ...answerTo(claim, "disputed"), differences: differences.slice(0, 50) });
    return true;
  }
  // what has been read is named by its hash
  const acknowledgement = { ...answerTo(claim, "acknowledged"), content_sha256: claim.content_sha256 };
  const inReview = await post(token, { ...acknowledgement, based_on: revision });
  console.log(`${inReview.state}, revision ${inReview.revision}`);
  const decided = await decide(token, keys, claim, inReview.revision);
  console.log(`${decided.state}, revision ${decided.revision}`);
  return true;
}

async function main() {
  const deadline = Date.now() + 120_000;
  const token = await logIn();
  const keys = await openRelease(await request("GET", "/v1/registry/release"), profile.trust);
  while (Date.now() < deadline) {
    const page = await request("GET", "/v1/inbox?wait=20", { headers: token });
    let answered = false;
    for (const item of page.items) {
      if (item.type === "submitted") answered = (await answer(token, keys, item)) || answered;
    }
    const headers = { ...token, "Content-Type": "application/json" };
    await request("POST", "/v1/inbox/ack", { headers, body: JSON.stringify({ after: page.next }) });
    if (answered) return;
  }
  throw new Error("no claim in 120 s");
}

await main();
