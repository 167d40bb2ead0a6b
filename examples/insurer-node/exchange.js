// What two parties exchange, with nothing but `jose`: JWS, the registry, stamps, dossiers. See docs/insurers.md.

import { createHash } from "node:crypto";
import { gunzipSync } from "node:zlib";
import { CompactSign, GeneralEncrypt, compactVerify, decodeProtectedHeader, generalDecrypt, importJWK } from "jose";

const INFLATED_BYTES_MAX = 8 * 1024 * 1024;
export const sha256 = (text) => createHash("sha256").update(text).digest("hex");
export const insist = (condition, sentence) => {
  if (!condition) throw new Error(sentence);
};

// JWS: headers are exactly {alg, kid, typ}; the algorithm comes from the key, never from the token.

export async function sign(payload, jwk, typ) {
  const header = { alg: "Ed25519", kid: jwk.kid, typ };
  const bytes = Buffer.from(JSON.stringify(payload));
  return new CompactSign(bytes).setProtectedHeader(header).sign(await importJWK(jwk, "Ed25519"));
}

async function verify(token, typ, publicKey) {
  const header = decodeProtectedHeader(token);
  insist(Object.keys(header).sort().join() === "alg,kid,typ" && header.typ === typ, `not a ${typ}`);
  insist(header.kid === publicKey.kid, `${typ}: another key`);
  const key = await importJWK({ kty: "OKP", crv: "Ed25519", x: publicKey.x }, "Ed25519");
  const { payload } = await compactVerify(token, key, { algorithms: ["Ed25519"] });
  return JSON.parse(Buffer.from(payload).toString());
}

// The registry: root -> registry key -> release -> each party's own signature over its entry.

export async function openRelease(signed, { root_kid, root_x, minimum_release }) {
  const registryKey = await verify(signed.registry_key, "szhk-registry-key+jws", { kid: root_kid, x: root_x });
  const release = await verify(signed.release, "szhk-release+jws", registryKey);
  insist(release.release >= minimum_release, "the release is older than the one we trust");
  const keys = new Map();
  for (const entry of release.entries) {
    const party = JSON.parse(Buffer.from(entry.split(".")[1], "base64url"));
    const own = party.keys.find((key) => key.kid === decodeProtectedHeader(entry).kid && key.crv === "Ed25519");
    insist(own, "an entry is not signed by its own party");
    await verify(entry, "szhk-party+jws", own);
    for (const key of party.keys) {
      insist(key.kid.startsWith(`${party.code}/`) && !keys.has(key.kid), "a key stands under another party's name");
      keys.set(key.kid, { ...key, party });
    }
  }
  return keys;
}

function keyOf(keys, token, use, at) {
  const key = keys.get(decodeProtectedHeader(token).kid);
  insist(key?.use === use, `the registry knows no such ${use} key`);
  insist(Date.parse(key.valid_from) <= at && at < Date.parse(key.valid_to), `the ${use} key was not valid then`);
  insist(!key.compromised_at || at < Date.parse(key.compromised_at), `the ${use} key was compromised`);
  return key;
}

export function sealKeyOf(keys, code) {
  const valid = [...keys.values()].filter(
    (key) => key.party.code === code && key.use === "seal" && !key.compromised_at &&
      Date.parse(key.valid_from) <= Date.now() && Date.now() < Date.parse(key.valid_to),
  );
  insist(valid.length > 0, `${code} has no seal key`);
  return valid.reduce((newest, key) => (Date.parse(key.valid_from) > Date.parse(newest.valid_from) ? key : newest));
}

// A claim as delivered: stamp by core, receipt by sz, manifest by the hospital, dossier sealed to us.

async function verifyStamp(token, keys, role) {
  const holder = keys.get(decodeProtectedHeader(token).kid);
  insist(holder?.party.kind === "role", "the stamp is not a role's");
  const stamp = await verify(token, "szhk-stamp+jws", holder);
  keyOf(keys, token, "stamp", Date.parse(stamp.received_at));
  insist(stamp.role === holder.party.code && stamp.role.split("-")[0] === role, `the stamp is not by ${role}`);
  return stamp;
}

export async function open(exchange, keys, profile) {
  const stamp = await verifyStamp(exchange.stamp, keys, "core");
  insist(stamp.manifest_sha256 === sha256(exchange.manifest), "the stamp is over another manifest");
  insist(stamp.dossier_sha256 === sha256(exchange.dossier), "the stamp is over another dossier");
  insist(Date.now() <= Date.parse(stamp.expires), "the delivery has expired");
  const receipt = await verifyStamp(exchange.receipt, keys, "sz");
  insist(receipt.manifest_sha256 === stamp.manifest_sha256, "the receipt is over another manifest");
  const signer = keyOf(keys, exchange.manifest, "sign", Date.parse(receipt.received_at));
  const manifest = await verify(exchange.manifest, "szhk-manifest+jws", signer);
  insist(manifest.type === "submitted" && stamp.type === manifest.type, "this is not a claim");
  insist(manifest.sender === signer.party.code, "the manifest is signed by another party than its sender");
  insist(manifest.recipients.includes(profile.party) && manifest.case_id === stamp.key, "the claim is not for us");

  const { kid } = profile.seal_key;
  const sealed = JSON.parse(exchange.dossier);
  sealed.recipients = sealed.recipients.filter(({ header }) => header.kid === kid);
  const { plaintext } = await generalDecrypt(sealed, await importJWK(profile.seal_key, "ECDH-ES+A256KW"), {
    keyManagementAlgorithms: ["ECDH-ES+A256KW"],
    contentEncryptionAlgorithms: ["A256GCM"],
  });
  insist(sha256(plaintext) === manifest.content_sha256, "the dossier is not the content that was signed");
  return { manifest, bundle: JSON.parse(gunzipSync(plaintext, { maxOutputLength: INFLATED_BYTES_MAX })) };
}

// Sealed in general JSON form (RFC 7516 section 7.2.1), to several readers.

export async function seal(packed, recipients) {
  const jwe = new GeneralEncrypt(packed).setProtectedHeader({ enc: "A256GCM" });
  for (const { kid, x } of recipients) {
    const key = await importJWK({ kty: "OKP", crv: "X25519", x }, "ECDH-ES+A256KW");
    jwe.addRecipient(key).setUnprotectedHeader({ alg: "ECDH-ES+A256KW", kid });
  }
  return JSON.stringify(await jwe.encrypt());
}
