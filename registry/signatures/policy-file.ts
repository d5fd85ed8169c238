/**
 * A signature policy as a file, for whoever runs a cluster or owns a machine: the fields of `spec.image.verification` but
 * `policy`, in YAML. It is a floor: whatever else is asked for, this is too.
 */
import { readFile } from 'node:fs/promises';
import * as z from 'zod';
import { parse } from 'yaml';
import { reasonOf } from '../errors.ts';
import { SignatureError } from './errors.ts';
import { parseSignaturePolicy, type SignaturePolicyText } from './policy.ts';

/** A dozen keys with their names are a few kilobytes. */
const FILE_MAX_CHARACTERS = 256 * 1024;

const trustedRoot = z.string().min(1).max(32_768);
const FILE = z.strictObject({
  match: z.enum(['Any', 'All']).default('Any'),
  authorities: z
    .array(
      z.strictObject({
        name: z.string().min(1).max(63),
        publicKeys: z.array(z.string()).min(1).max(4).optional(),
        transparencyLog: z.strictObject({ trustedRoot }).optional(),
        keyless: z
          .strictObject({ issuer: z.string().min(1).max(512), subject: z.string().min(1).max(512), trustedRoot })
          .optional(),
        signedRepository: z.string().min(1).max(255).optional(),
      }),
    )
    .max(8)
    .default([]),
  deniedDigests: z.array(z.string()).max(64).default([]),
  deniedKeys: z.array(z.string()).max(64).default([]),
});

export type SignaturePolicyFile = z.infer<typeof FILE>;

/**
 * Parses the text of such a file; every key in it is parsed too.
 * @throws SignatureError `InvalidSignaturePolicy`, `InvalidKey`
 */
export function parsePolicyFile(text: string, where: string): SignaturePolicyFile {
  const invalid = (problem: string, cause?: unknown): SignatureError =>
    new SignatureError(
      'InvalidSignaturePolicy',
      `The signature policy ${where} ${problem}; until it is corrected no image passes.`,
      { cause },
    );
  if (text.length > FILE_MAX_CHARACTERS) throw invalid(`is longer than ${FILE_MAX_CHARACTERS} characters`);
  let value: unknown;
  try {
    value = parse(text, { strict: true, uniqueKeys: true, maxAliasCount: 0, logLevel: 'error' });
  } catch (cause) {
    throw invalid(`is not valid YAML (${reasonOf(cause)})`, cause);
  }
  const parsed = FILE.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw invalid(`is malformed (${issue?.path.map(String).join('.') ?? ''}: ${issue?.message ?? ''})`);
  }
  const { authorities, deniedDigests, deniedKeys } = parsed.data;
  // An empty file is more likely a mistake than a wish.
  if (authorities.length + deniedDigests.length + deniedKeys.length === 0)
    throw invalid('names no authority and denies nothing');
  const policy: SignaturePolicyText = parsed.data;
  parseSignaturePolicy(policy, where);
  return parsed.data;
}

/**
 * Reads such a file; undefined when there is none.
 * @throws SignatureError `InvalidSignaturePolicy`, also when it cannot be read: what might demand a signature is not passed over.
 */
export async function readPolicyFile(path: string): Promise<SignaturePolicyFile | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw new SignatureError(
      'InvalidSignaturePolicy',
      `The signature policy ${path} cannot be read (${reasonOf(cause)}); until it can be no image passes.`,
      { cause },
    );
  }
  return parsePolicyFile(text, path);
}
