/** Where signatures of an image are kept: containers-registries.d(5). */
import * as z from 'zod';
import { parse } from 'yaml';
import { reasonOf } from '../../errors.ts';
import type { RegistryName } from '../../registry-name.ts';
import { SignatureError } from '../errors.ts';
import { registryScopes } from './scopes.ts';

/** What podman's own lookaside storage is, for root, when nothing is configured. */
const DEFAULT_LOOKASIDE = 'file:///var/lib/containers/sigstore';
const FILE_MAX_CHARACTERS = 1024 * 1024;

const url = z.string().nullish();
// What else stands there is for writers of signatures, or for newer tools.
const NAMESPACE = z.looseObject({ lookaside: url, sigstore: url, 'use-sigstore-attachments': z.boolean().nullish() });
const FILE = z.looseObject({
  'default-docker': NAMESPACE.nullish(),
  docker: z.record(z.string(), NAMESPACE.nullish()).nullish(),
});

type Namespace = z.infer<typeof NAMESPACE>;

export interface SignatureStorage {
  /** `default-docker`. */
  readonly fallback?: Namespace | undefined;
  readonly scopes: ReadonlyMap<string, Namespace>;
}

/**
 * Joins the files of the directories.
 * @throws SignatureError `InvalidSignaturePolicy`, also when two files speak of the same scope.
 */
export function parseRegistriesD(files: readonly { readonly path: string; readonly text: string }[]): SignatureStorage {
  let fallback: { readonly from: string; readonly namespace: Namespace } | undefined;
  const scopes = new Map<string, Namespace>();
  const origins = new Map<string, string>();
  for (const { path, text } of files) {
    const content = parseFile(path, text);
    const { 'default-docker': byDefault, docker } = content;
    if (byDefault) {
      if (fallback !== undefined) throw twice('default-docker', fallback.from, path);
      fallback = { from: path, namespace: byDefault };
    }
    for (const [scope, namespace] of Object.entries(docker ?? {})) {
      const origin = origins.get(scope);
      if (origin !== undefined) throw twice(`docker: ${JSON.stringify(scope)}`, origin, path);
      origins.set(scope, path);
      scopes.set(scope, namespace ?? {});
    }
  }
  return { fallback: fallback?.namespace, scopes };
}

/** Below this URL the signatures of an image's manifests are files. */
export function lookasideBase(storage: SignatureStorage, name: RegistryName): string {
  // An empty text counts as none, and the next scope is asked.
  const base = firstOf(storage, name, ({ lookaside, sigstore }) => lookaside || sigstore || undefined);
  return `${base ?? DEFAULT_LOOKASIDE}/${name.repository}`;
}

/** Whether signatures that are attached in the registry are looked at. */
export function usesAttachments(storage: SignatureStorage, name: RegistryName): boolean {
  return firstOf(storage, name, (namespace) => namespace['use-sigstore-attachments'] ?? undefined) ?? false;
}

function firstOf<T>(
  storage: SignatureStorage,
  name: RegistryName,
  read: (one: Namespace) => T | undefined,
): T | undefined {
  for (const scope of registryScopes(name)) {
    const namespace = storage.scopes.get(scope);
    const value = namespace && read(namespace);
    if (value !== undefined) return value;
  }
  return storage.fallback && read(storage.fallback);
}

function parseFile(path: string, text: string): z.infer<typeof FILE> {
  const invalid = (problem: string, cause?: unknown): SignatureError =>
    new SignatureError(
      'InvalidSignaturePolicy',
      `${path} is not valid (${problem}): correct it, see containers-registries.d(5).`,
      {
        cause,
      },
    );
  if (text.length > FILE_MAX_CHARACTERS) throw invalid(`longer than ${FILE_MAX_CHARACTERS} characters`);
  let value: unknown;
  try {
    value = parse(text, { maxAliasCount: 100, logLevel: 'error' });
  } catch (cause) {
    throw invalid(reasonOf(cause), cause);
  }
  const parsed = FILE.safeParse(value ?? {});
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw invalid(`${issue?.path.map(String).join('.') ?? ''}: ${issue?.message ?? 'malformed'}`);
}

function twice(what: string, first: string, second: string): SignatureError {
  return new SignatureError(
    'InvalidSignaturePolicy',
    `${what} stands both in ${first} and in ${second}: take one of them out.`,
  );
}
