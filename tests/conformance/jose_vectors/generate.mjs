// Seals one text in every JSON form that RFC 7516 allows, with Node's `jose`, which is not our library.
// Run in a folder where `npm install jose@6` has been done: node generate.mjs > vectors.json
// The keys are made for this file and open nothing else.
import * as jose from 'jose'

const PLAIN = new TextEncoder().encode('{"nonce":"synthetic"}')
const ENC = { enc: 'A256GCM' }
const ALG = { alg: 'ECDH-ES+A256KW' }

async function key(kid) {
  const { publicKey, privateKey } = await jose.generateKeyPair('ECDH-ES+A256KW', { crv: 'X25519', extractable: true })
  return { kid, publicKey, jwk: { ...(await jose.exportJWK(privateKey)), kid } }
}

const reader = await key('hosp-nanshan/seal/1')
const author = await key('ins-harbour/seal/1')
const both = (encrypt, header = (one) => ({ ...ALG, kid: one.kid })) => {
  for (const one of [reader, author]) encrypt.addRecipient(one.publicKey).setUnprotectedHeader(header(one))
  return encrypt.encrypt()
}
const general = (protectedHeader) => new jose.GeneralEncrypt(PLAIN).setProtectedHeader(protectedHeader)
const flattened = (protectedHeader) => new jose.FlattenedEncrypt(PLAIN).setProtectedHeader(protectedHeader)
const info = { apu: new TextEncoder().encode('ins-harbour'), apv: new TextEncoder().encode('hosp-nanshan') }

const vectors = {
  'two recipients, alg and kid of each in its header': await both(general(ENC)),
  'two recipients, alg protected, kid of each in its header': await both(general({ ...ENC, ...ALG }), (one) => ({ kid: one.kid })),
  'two recipients, alg in the shared unprotected header':
    await both(general(ENC).setSharedUnprotectedHeader(ALG), (one) => ({ kid: one.kid })),
  'two recipients, enc in the shared unprotected header':
    await both(general({ typ: 'JOSE+JSON' }).setSharedUnprotectedHeader(ENC)),
  'two recipients, typ and cty': await both(general({ ...ENC, typ: 'JOSE+JSON', cty: 'application/gzip' })),
  'two recipients, additional authenticated data':
    await both(general(ENC).setAdditionalAuthenticatedData(new TextEncoder().encode('szhk'))),
  'one recipient in general form, epk protected':
    await general({ ...ENC, ...ALG }).addRecipient(reader.publicKey).setUnprotectedHeader({ kid: reader.kid }).encrypt(),
  'one recipient in general form, without a key id': await general({ ...ENC, ...ALG }).addRecipient(reader.publicKey).encrypt(),
  'flattened, everything protected': await flattened({ ...ENC, ...ALG, kid: reader.kid }).encrypt(reader.publicKey),
  'flattened, kid in the header': await flattened({ ...ENC, ...ALG }).setUnprotectedHeader({ kid: reader.kid }).encrypt(reader.publicKey),
  'flattened, kid in the shared unprotected header':
    await flattened({ ...ENC, ...ALG }).setSharedUnprotectedHeader({ kid: reader.kid }).encrypt(reader.publicKey),
  'flattened, apu and apv':
    await flattened({ ...ENC, ...ALG, kid: reader.kid }).setKeyManagementParameters(info).encrypt(reader.publicKey),
  'flattened, additional authenticated data':
    await flattened({ ...ENC, ...ALG, kid: reader.kid })
      .setAdditionalAuthenticatedData(new TextEncoder().encode('szhk')).encrypt(reader.publicKey),
}

console.log(JSON.stringify({ plain: new TextDecoder().decode(PLAIN), reader: reader.jwk, author: author.jwk, vectors }, null, 2))
