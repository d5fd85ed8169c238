/**
 * `policy.json` as containers-policy.json(5) defines it. It decides what a machine trusts, so that what is unknown in it,
 * or stands twice, makes the whole file invalid.
 */
import * as z from 'zod';
import { SignatureError } from '../errors.ts';
import { parseStrictJson } from '../strict-json.ts';

const path = z.string().min(1);
const base64 = z.base64().min(1);
const name = z.string().min(1).max(1024);

const SIGNED_IDENTITY = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('matchExact') }),
  z.strictObject({ type: z.literal('matchRepoDigestOrExact') }),
  z.strictObject({ type: z.literal('matchRepository') }),
  z.strictObject({ type: z.literal('exactReference'), dockerReference: name }),
  z.strictObject({ type: z.literal('exactRepository'), dockerRepository: name }),
  z.strictObject({ type: z.literal('remapIdentity'), prefix: name, signedPrefix: name }),
]);

/** The default that the manual page gives. */
const signedIdentity = SIGNED_IDENTITY.default({ type: 'matchRepoDigestOrExact' });

const FULCIO = z
  .strictObject({
    caPath: path.optional(),
    caData: base64.optional(),
    oidcIssuer: z.string().min(1),
    subjectEmail: z.string().min(1),
  })
  .refine((fulcio) => onlyOne(fulcio.caPath, fulcio.caData), 'needs exactly one of caPath and caData');
const PKI = z
  .strictObject({
    caRootsPath: path.optional(),
    caRootsData: base64.optional(),
    caIntermediatesPath: path.optional(),
    caIntermediatesData: base64.optional(),
    subjectEmail: z.string().min(1).optional(),
    // A dot before it would mean every name below it.
    subjectHostname: z.string().regex(/^[^.]/).optional(),
  })
  .refine((pki) => onlyOne(pki.caRootsPath, pki.caRootsData), 'needs exactly one of caRootsPath and caRootsData')
  .refine(
    (pki) => pki.caIntermediatesPath === undefined || pki.caIntermediatesData === undefined,
    'has both caIntermediatesPath and caIntermediatesData',
  )
  .refine(
    (pki) => pki.subjectEmail !== undefined || pki.subjectHostname !== undefined,
    'needs subjectEmail or subjectHostname',
  );

const REQUIREMENT = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('insecureAcceptAnything') }),
  z.strictObject({ type: z.literal('reject') }),
  z
    .strictObject({
      type: z.literal('signedBy'),
      keyType: z.enum(['GPGKeys', 'signedByGPGKeys', 'X509Certificates', 'signedByX509CAs']),
      keyPath: path.optional(),
      keyPaths: z.array(path).min(1).optional(),
      keyData: base64.optional(),
      signedIdentity,
    })
    .refine(
      (one) => onlyOne(one.keyPath, one.keyPaths, one.keyData),
      'needs exactly one of keyPath, keyPaths and keyData',
    ),
  z
    .strictObject({
      type: z.literal('sigstoreSigned'),
      keyPath: path.optional(),
      keyPaths: z.array(path).min(1).optional(),
      keyData: base64.optional(),
      keyDatas: z.array(base64).min(1).optional(),
      fulcio: FULCIO.optional(),
      pki: PKI.optional(),
      rekorPublicKeyPath: path.optional(),
      rekorPublicKeyPaths: z.array(path).min(1).optional(),
      rekorPublicKeyData: base64.optional(),
      rekorPublicKeyDatas: z.array(base64).min(1).optional(),
      signedIdentity,
    })
    .refine(
      (one) => onlyOne(one.keyPath, one.keyPaths, one.keyData, one.keyDatas, one.fulcio, one.pki),
      'needs exactly one of keyPath, keyPaths, keyData, keyDatas, fulcio and pki',
    )
    .refine((one) => rekorKeys(one) <= 1, 'has more than one kind of rekorPublicKey…')
    .refine((one) => one.fulcio === undefined || rekorKeys(one) === 1, 'has fulcio without a rekorPublicKey…')
    .refine((one) => one.pki === undefined || rekorKeys(one) === 0, 'has pki with a rekorPublicKey…'),
  z.strictObject({ type: z.literal('signedBaseLayer'), baseLayerIdentity: SIGNED_IDENTITY }),
]);

const REQUIREMENTS = z.array(REQUIREMENT).min(1);
const POLICY = z.strictObject({
  default: REQUIREMENTS,
  transports: z.record(z.string(), z.record(z.string(), REQUIREMENTS)).optional(),
});

export type SignedIdentity = z.infer<typeof SIGNED_IDENTITY>;
export type Requirement = z.infer<typeof REQUIREMENT>;
export type ContainersPolicy = z.infer<typeof POLICY>;

/** Real ones have a few kilobytes. */
const FILE_MAX_BYTES = 4 * 1024 * 1024;

/**
 * @param where the file, for the message.
 * @throws SignatureError `InvalidSignaturePolicy`
 */
export function parseContainersPolicy(bytes: Buffer, where: string): ContainersPolicy {
  const invalid = (problem: string, cause?: unknown): SignatureError =>
    new SignatureError(
      'InvalidSignaturePolicy',
      `${where} is not valid (${problem}), so no image is accepted by it: correct it, see containers-policy.json(5).`,
      { cause },
    );
  if (bytes.length > FILE_MAX_BYTES) throw invalid(`longer than ${FILE_MAX_BYTES} bytes`);
  let value: unknown;
  try {
    value = parseStrictJson(bytes);
  } catch (cause) {
    throw invalid((cause as Error).message, cause);
  }
  const parsed = POLICY.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw invalid(`${issue?.path.map(String).join('.') ?? ''}: ${issue?.message ?? 'malformed'}`);
}

/** Whether the whole policy is "accept anything", which the ostree-container tools take for no policy at all. */
export function acceptsAnything({ default: requirements }: ContainersPolicy): boolean {
  return requirements.length === 1 && requirements[0]?.type === 'insecureAcceptAnything';
}

function onlyOne(...values: readonly unknown[]): boolean {
  return values.filter((value) => value !== undefined).length === 1;
}

function rekorKeys(one: Readonly<Record<string, unknown>>): number {
  const members = ['rekorPublicKeyPath', 'rekorPublicKeyPaths', 'rekorPublicKeyData', 'rekorPublicKeyDatas'];
  return members.filter((member) => one[member] !== undefined).length;
}
