/**
 * Which proxy a request goes through, by the environment variables that every tool on the machine reads, in the sense of
 * Go's net/http, which skopeo and podman follow: a pure decision.
 */
import { BlockList, isIP } from 'node:net';
import { RegistryError } from './errors.ts';

export interface ProxySettings {
  /** For `https:` and `http:` registries. */
  readonly https: URL | undefined;
  readonly http: URL | undefined;
  readonly isDirect: (url: URL) => boolean;
}

/**
 * Reads `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, or their lower-case spellings where those are not set.
 * @throws RegistryError `InvalidConfiguration`
 */
export function proxySettings(environment: Readonly<Record<string, string | undefined>>): ProxySettings {
  const value = (name: string): string => environment[name] || environment[name.toLowerCase()] || '';
  return {
    https: proxyUrl('HTTPS_PROXY', value('HTTPS_PROXY')),
    http: proxyUrl('HTTP_PROXY', value('HTTP_PROXY')),
    isDirect: directRule(value('NO_PROXY')),
  };
}

/** The proxy for a URL; undefined means a connection of our own. */
export function proxyFor(url: URL, settings: ProxySettings): URL | undefined {
  const proxy = url.protocol === 'https:' ? settings.https : settings.http;
  return proxy === undefined || settings.isDirect(url) ? undefined : proxy;
}

function proxyUrl(name: string, text: string): URL | undefined {
  if (text === '') return undefined;
  const full = text.includes('://') ? text : `http://${text}`;
  const url = URL.canParse(full) ? new URL(full) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    // The value may hold a password: only its name is told.
    throw new RegistryError(
      'InvalidConfiguration',
      `The environment variable ${name} is no proxy that can be used: write http://HOST:PORT or https://HOST:PORT, or unset it.`,
    );
  }
  return url;
}

/** `NO_PROXY`: `*`, addresses, networks, `domain` (and all below it), `.domain` (only below it), each with `:port`. */
function directRule(list: string): (url: URL) => boolean {
  const entries = list
    .split(',')
    .map((entry) => entry.trim().toLowerCase())
    .filter((entry) => entry !== '');
  return (url) => {
    const host = url.hostname
      .replace(/^\[|\]$/g, '')
      .replace(/\.$/, '')
      .toLowerCase();
    const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port;
    return isLoopback(host) || entries.some((entry) => matches(entry, host, port));
  };
}

function matches(entry: string, host: string, port: string): boolean {
  if (entry === '*') return true;
  const network = networkOf(entry);
  if (network !== undefined) return isIP(host) !== 0 && network.check(host, isIP(host) === 6 ? 'ipv6' : 'ipv4');
  const [, name = '', wanted] = /^(.*?)(?::(\d+))?$/.exec(entry) ?? [];
  // An IPv6 address has colons of its own: with a port it stands in brackets.
  const bare = isIP(entry) === 6 ? entry : name.replace(/^\[|\]$/g, '');
  if (isIP(entry) !== 6 && wanted !== undefined && wanted !== port) return false;
  if (isIP(bare) !== 0) return bare === host;
  const domain = bare.replace(/^\*/, '');
  return domain.startsWith('.') ? host.endsWith(domain) : host === domain || host.endsWith(`.${domain}`);
}

function networkOf(entry: string): BlockList | undefined {
  const [, address = '', bits] = /^(.+)\/(\d{1,3})$/.exec(entry) ?? [];
  const family = isIP(address);
  if (bits === undefined || family === 0 || Number(bits) > (family === 6 ? 128 : 32)) return undefined;
  const list = new BlockList();
  list.addSubnet(address, Number(bits), family === 6 ? 'ipv6' : 'ipv4');
  return list;
}

/** Nobody's proxy knows the way back to this machine. */
function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}
