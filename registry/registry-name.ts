/**
 * `host[:port]/path[:tag][@digest]`: the grammar of the distribution project's reference package, without Docker Hub's
 * short names. `os:v2` would silently mean a stranger's image; a fleet must say where its OS comes from.
 */
import { isDigest } from './digest.ts';
import { invalid } from './image-reference.ts';

export interface RegistryName {
  /** `host` or `host:port`; IPv6 in brackets. */
  readonly host: string;
  /** Path without leading or trailing slash. */
  readonly repository: string;
  readonly tag?: string;
  /** `sha256:<64 hex digits>`; wins over the tag. */
  readonly digest?: string;
}

const HOST =
  /^(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?$/;
const PATH_COMPONENT = /^[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
/** Limit of the distribution specification for host and path together. */
const NAME_MAX_CHARACTERS = 255;

/**
 * Parses the name of an image on a registry.
 * @throws RegistryError `InvalidReference`
 */
export function parseRegistryName(text: string): RegistryName {
  const scheme = /^[a-z-]+:\/\//.exec(text)?.[0];
  if (scheme !== undefined) throw invalid(text, `is not a registry name; leave out '${scheme}' here`);
  const at = text.indexOf('@');
  const digest = at < 0 ? undefined : text.slice(at + 1);
  const beforeDigest = at < 0 ? text : text.slice(0, at);
  const slash = beforeDigest.indexOf('/');
  const host = beforeDigest.slice(0, Math.max(0, slash));
  if (slash <= 0 || !isHost(host)) {
    throw invalid(text, `names no registry host; write it in full as HOST[:PORT]/${suggestedPath(beforeDigest)}`);
  }
  const path = beforeDigest.slice(slash + 1);
  const colon = path.indexOf(':');
  const repository = colon < 0 ? path : path.slice(0, colon);
  const tag = colon < 0 ? undefined : path.slice(colon + 1);
  if (!HOST.test(host)) throw invalid(text, `has the malformed host '${host}'`);
  if (Number(/:(\d+)$/.exec(host)?.[1] ?? 1) > 65_535) throw invalid(text, `has a port above 65535`);
  for (const component of repository.split('/')) {
    if (!PATH_COMPONENT.test(component)) {
      throw invalid(
        text,
        `has the malformed path component '${component}'; use a-z, 0-9 and single . _ - between them`,
      );
    }
  }
  if (host.length + 1 + repository.length > NAME_MAX_CHARACTERS) {
    throw invalid(text, `is longer than the ${NAME_MAX_CHARACTERS} characters that registries allow`);
  }
  if (tag !== undefined && !TAG.test(tag)) throw invalid(text, `has the malformed tag '${tag}'`);
  if (digest !== undefined && !isDigest(digest)) {
    throw invalid(text, `has the malformed digest '${digest}'; it must be sha256: and 64 lower-case hex digits`);
  }
  return {
    host,
    repository,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  };
}

/**
 * Parses the name of a repository: neither tag nor digest.
 * @throws RegistryError `InvalidReference`
 */
export function parseRepositoryName(text: string): RegistryName {
  const name = parseRegistryName(text);
  if (name.tag === undefined && name.digest === undefined) return name;
  throw invalid(text, 'must name a repository; leave out its tag and digest');
}

/** The inverse of `parseRegistryName`. */
export function formatRegistryName(name: RegistryName): string {
  const tag = name.tag === undefined ? '' : `:${name.tag}`;
  const digest = name.digest === undefined ? '' : `@${name.digest}`;
  return `${name.host}/${name.repository}${tag}${digest}`;
}

/** What the name points at: its digest, else its tag, else `latest`, as every registry client assumes. */
export function manifestReference(name: RegistryName): string {
  return name.digest ?? name.tag ?? 'latest';
}

/** `a/b` is a path; `a.example/b`, `a:5000/b` and `localhost/b` have a host: the rule of the distribution project. */
function isHost(first: string): boolean {
  return first === 'localhost' || /[.:A-Z]/.test(first);
}

function suggestedPath(text: string): string {
  const path = text.replace(/^\/+/, '');
  return path === '' ? 'NAME:TAG' : path;
}
