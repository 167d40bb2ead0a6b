// Content against manifest: does the sealed bill say what the hospital has signed in clear? A difference is a JSON
// Pointer into the manifest. `gateway.client.compare` also holds payments, coverage, consent and programme against it.

// JSON.parse gives doubles, which hold every amount to the fen; from here on amounts are whole numbers of fen
const minor = (money) => Math.round(Number(money.value) * 100);

export function compare(manifest, bundle) {
  const claim = bundle.entry.map(({ resource }) => resource).find(({ resourceType }) => resourceType === "Claim");
  if (claim === undefined) return ["/content"];
  const identifier = (system) => claim.identifier.find((candidate) => candidate.system === system)?.value;
  const billing = claim.extension.find(({ url }) => url === "urn:szhk:extension:billing")?.extension ?? [];
  const billed = (name) => billing.find(({ url }) => url === name) ?? {};
  const total = manifest.line_amounts_minor.reduce((sum, amount) => sum + amount, 0);
  const agrees = {
    "/claim_id": identifier("urn:szhk:id:claim") === manifest.claim_id,
    "/case_id": identifier("urn:szhk:id:case") === manifest.case_id,
    "/line_amounts_minor":
      claim.item.length === manifest.line_amounts_minor.length && minor(claim.total) === total,
    "/currency": claim.total.currency === manifest.currency,
    "/payee": billed("payee").valueCode === manifest.payee,
    "/billing_mode": billed("billing_mode").valueCode === manifest.billing_mode,
    "/unpaid_minor": minor(billed("unpaid").valueMoney ?? {}) === manifest.unpaid_minor,
    "/asked_minor": minor(billed("asked").valueMoney ?? {}) === manifest.asked_minor,
  };
  manifest.line_amounts_minor.forEach((amount, line) => {
    agrees[`/line_amounts_minor/${line}`] = minor(claim.item[line]?.net ?? {}) === amount;
  });
  return Object.keys(agrees).filter((pointer) => !agrees[pointer]);
}
