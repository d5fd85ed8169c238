/**
 * Connections to hosts, each with the certificates, the trust and the proxy that this machine has for it. One pool per
 * origin, made when it is first asked for.
 */
import { findCertificates, type HostCertificates, readCertificates } from './certificates.ts';
import { connectHere, type HttpPool, type PoolSettings } from './http-pool.ts';
import { DEFAULT_IDLE_TIMEOUT_MS, type RegistryOptions } from './options.ts';
import { RegistryError } from './errors.ts';
import { proxyFor } from './proxy.ts';

/** A host that does not even accept a connection by then is down; waiting longer only hides it. */
const CONNECT_TIMEOUT_MS = 10_000;

export class Network implements AsyncDisposable {
  readonly #options: RegistryOptions;
  readonly #registryHost: string;
  readonly #pools = new Map<string, Promise<HttpPool>>();

  /** @param registryHost whose authorities are trusted for its token service and its storage, too. */
  constructor(options: RegistryOptions, registryHost: string) {
    this.#options = options;
    this.#registryHost = registryHost;
  }

  /** @throws RegistryError `InvalidConfiguration` when the host's certificates are unusable. */
  pool(url: URL): Promise<HttpPool> {
    const given = this.#options.dispatcher;
    if (given !== undefined) return Promise.resolve(given);
    const known = this.#pools.get(url.origin);
    if (known !== undefined) return known;
    const pool = this.#connect(url);
    this.#pools.set(url.origin, pool);
    return pool;
  }

  /** The proxy that requests to `url` go through, without its password, for messages. */
  proxyOf(url: URL): string | undefined {
    const proxy = this.#proxy(url);
    return proxy === undefined ? undefined : `${proxy.protocol}//${proxy.host}`;
  }

  #proxy(url: URL): URL | undefined {
    const { proxies, dispatcher } = this.#options;
    return proxies === undefined || dispatcher !== undefined ? undefined : proxyFor(url, proxies);
  }

  async #connect(url: URL): Promise<HttpPool> {
    const connectTimeoutMs = Math.min(CONNECT_TIMEOUT_MS, this.#options.idleTimeoutMs ?? DEFAULT_IDLE_TIMEOUT_MS);
    const tls = url.protocol === 'https:' ? await this.#tls(url.host) : {};
    const proxy = this.#proxy(url);
    const connect = this.#options.connect ?? connectHere;
    return connect({ origin: url.origin, connectTimeoutMs, tls, ...(proxy !== undefined && { proxy: proxy.href }) });
  }

  async #tls(host: string): Promise<PoolSettings['tls']> {
    const { certificateAuthority, insecureHosts = [], skipTlsVerification = false } = this.#options;
    const found = await this.#certificates(host);
    const registry = host === this.#registryHost ? undefined : await this.#certificates(this.#registryHost);
    const authorities = [
      ...(certificateAuthority === undefined ? [] : [certificateAuthority]),
      ...(found?.authorities ?? []),
      ...(registry?.authorities ?? []),
    ];
    const clients = found?.clients ?? [];
    // Only where TLS is spoken: to load it takes nearly as long as to start Node.
    const { getCACertificates } = await import('node:tls');
    return {
      ...(authorities.length === 0 ? {} : { ca: [...getCACertificates('default'), ...authorities] }),
      ...(clients.length === 0
        ? {}
        : { cert: clients.map(({ certificate }) => certificate), key: clients.map(({ key }) => key) }),
      ...(skipTlsVerification || spellings(host).some((name) => insecureHosts.includes(name))
        ? { rejectUnauthorized: false }
        : {}),
    };
  }

  async #certificates(host: string): Promise<HostCertificates | undefined> {
    const { certificateDirectory, certificateDirectories = [] } = this.#options;
    if (certificateDirectory === undefined) return await findCertificates(certificateDirectories, spellings(host));
    const found = await readCertificates(certificateDirectory);
    if (found !== undefined) return found;
    throw new RegistryError(
      'InvalidConfiguration',
      `The certificate directory ${certificateDirectory} does not exist: correct its path.`,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pool of await Promise.allSettled(this.#pools.values())) {
      if (pool.status === 'fulfilled') await pool.value.destroy();
    }
    this.#pools.clear();
  }
}

/** A URL drops its default port, which an image's name and a directory may have. */
function spellings(host: string): readonly string[] {
  return /:\d+$/.test(host) ? [host] : [host, `${host}:443`];
}
