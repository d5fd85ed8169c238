/**
 * Credentials from a docker-config file (`auth.json`, `config.json`, a Secret of type kubernetes.io/dockerconfigjson),
 * see containers-auth.json(5): the longest matching `host[/namespace…]` entry wins.
 */
import * as z from 'zod';
import { printable, RegistryError, reasonOf } from './errors.ts';

export type Credential =
  | { readonly kind: 'basic'; readonly username: string; readonly password: string }
  /** An OAuth 2 refresh token. */
  | { readonly kind: 'identity-token'; readonly token: string }
  /** Sent to the registry as it is. */
  | { readonly kind: 'registry-token'; readonly token: string };

/** What a file says: a credential, or whom to ask for one (see `credential-helper.ts`). */
export type CredentialEntry = Credential | { readonly kind: 'helper'; readonly name: string };

/** Keys are `host[:port][/namespace…]` without scheme, or `*` for whatever no other entry matches. */
export type Credentials = ReadonlyMap<string, CredentialEntry>;

const ENTRY = z.object({
  auth: z.string().optional(),
  username: z.string().optional(),
  password: z.string().optional(),
  identitytoken: z.string().optional(),
  registrytoken: z.string().optional(),
});
const DOCKER_CONFIG = z.object({
  auths: z.record(z.string(), ENTRY).optional(),
  credHelpers: z.record(z.string(), z.string()).optional(),
  credsStore: z.string().optional(),
});
/** What may follow `docker-credential-` in the name of a program: nothing that leads to another directory. */
const HELPER_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;
const ANY_HOST = '*';

/**
 * Parses the JSON text of a docker-config file.
 * @param withHelpers whether `credHelpers` and `credsStore` count. A file of this machine may name programs of this
 *   machine; a Secret that came over the network may not.
 * @throws RegistryError `InvalidCredentials`; the message never quotes the content.
 */
export function parseDockerConfig(json: string, withHelpers = false): Credentials {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    // The parser's own message quotes the text, which holds secrets.
    throw invalid('is not JSON');
  }
  const parsed = DOCKER_CONFIG.safeParse(value);
  if (!parsed.success) {
    throw invalid(`is malformed at ${parsed.error.issues[0]?.path.join('.') ?? 'its top'}`);
  }
  const credentials = new Map<string, CredentialEntry>();
  for (const [key, entry] of Object.entries(parsed.data.auths ?? {})) {
    const credential = toCredential(key, entry);
    if (credential !== undefined) credentials.set(normaliseKey(key), credential);
  }
  if (withHelpers) addHelpers(credentials, parsed.data);
  return credentials;
}

/** The credential of the entry that matches most of `host/repository`, component by component. */
export function findCredential(
  credentials: Credentials | undefined,
  host: string,
  repository: string,
): CredentialEntry | undefined {
  if (credentials === undefined) return undefined;
  const components = [host, ...repository.split('/')];
  for (let length = components.length; length > 0; length--) {
    const credential = credentials.get(components.slice(0, length).join('/'));
    if (credential !== undefined) return credential;
  }
  return credentials.get(ANY_HOST);
}

/** A helper for a host wins over what the file holds for it; the store is asked last. */
function addHelpers(credentials: Map<string, CredentialEntry>, file: z.infer<typeof DOCKER_CONFIG>): void {
  const helpers = Object.entries(file.credHelpers ?? {}).map(([key, name]) => [normaliseKey(key), name] as const);
  const store = file.credsStore === undefined || file.credsStore === '' ? [] : [[ANY_HOST, file.credsStore] as const];
  for (const [key, name] of [...helpers, ...store]) {
    if (name === '') continue;
    if (!HELPER_NAME.test(name)) throw invalid(`names the credential helper ${JSON.stringify(printable(name))}`);
    credentials.set(key, { kind: 'helper', name });
  }
}

/** The value of an `Authorization` header for HTTP Basic. */
export function basicAuthorization(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`, 'utf8').toString('base64')}`;
}

function toCredential(key: string, entry: z.infer<typeof ENTRY>): Credential | undefined {
  if (entry.identitytoken !== undefined && entry.identitytoken !== '') {
    return { kind: 'identity-token', token: entry.identitytoken };
  }
  if (entry.registrytoken !== undefined && entry.registrytoken !== '') {
    return { kind: 'registry-token', token: entry.registrytoken };
  }
  if (entry.auth !== undefined && entry.auth !== '') {
    const decoded = Buffer.from(entry.auth, 'base64').toString('utf8');
    const colon = decoded.indexOf(':');
    if (colon < 0) throw invalid(`has an 'auth' for ${JSON.stringify(key)} that is not base64 of user:password`);
    // Some writers pad with NUL bytes (containers-auth.json readers trim them as well).
    return { kind: 'basic', username: decoded.slice(0, colon), password: decoded.slice(colon + 1).replace(/\0+$/, '') };
  }
  if (entry.username !== undefined && entry.password !== undefined) {
    return { kind: 'basic', username: entry.username, password: entry.password };
  }
  return undefined;
}

function normaliseKey(key: string): string {
  const bare = key
    .replace(/^https?:\/\//, '')
    .replace(/\/v[12]\/?$/, '')
    .replace(/\/+$/, '');
  return bare === 'index.docker.io' || bare === 'registry-1.docker.io' ? 'docker.io' : bare;
}

function invalid(problem: string, cause?: unknown): RegistryError {
  const reason = cause === undefined ? '' : ` (${reasonOf(cause)})`;
  return new RegistryError(
    'InvalidCredentials',
    `The registry credentials file ${problem}${reason}: it must be {"auths":{"HOST":{"auth":"base64 of user:password"}}}.`,
  );
}
