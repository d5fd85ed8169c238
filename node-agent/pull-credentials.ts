/**
 * The credentials that an order needs, out of the node's own NodeOS: the operator puts them there, sealed for this node.
 * The agent may not read Secrets.
 */
import { type NodeOS, pullCredentialsSchema } from '../api/index.ts';
import { type Credentials, parseDockerConfig } from '../registry/index.ts';
import { type CredentialsKey, SealingError } from '../sealing/sealed-credentials.ts';
import { Bell } from './bell.ts';
import { CREDENTIALS_KEY_FILE } from './credentials-key.ts';
import { AgentError, messageOf } from './errors.ts';

/** An operator that runs seals within a second; one that is being replaced is back within this. */
const PATIENCE_MS = 60_000;

export interface PullCredentialsOptions {
  readonly key: CredentialsKey;
  /** Where the pull Secrets are. */
  readonly namespace: string;
  /** How long to wait for credentials that are not there yet; a minute unless given. */
  readonly patienceMs?: number;
  /** Milliseconds that never jump. */
  readonly monotonicMs: () => number;
}

export class PullCredentialsReader {
  readonly #options: PullCredentialsOptions;
  readonly #bell = new Bell();
  #object: NodeOS | undefined;

  constructor(options: PullCredentialsOptions) {
    this.#options = options;
  }

  /** Takes each version of the node's NodeOS that the watch tells of. */
  observe(object: NodeOS | undefined): void {
    this.#object = object;
    this.#bell.ring();
  }

  /**
   * What the Secret `name` holds. Waits a while for it. Throws AgentError `PullSecretInvalid` when it does not come, does not
   * open, or is no docker config.
   */
  async read(name: string, signal: AbortSignal): Promise<Credentials> {
    const { patienceMs = PATIENCE_MS, monotonicMs } = this.#options;
    const endMs = monotonicMs() + patienceMs;
    for (;;) {
      signal.throwIfAborted();
      const found = await this.#open(name);
      if (!('missing' in found)) return found.credentials;
      const leftMs = endMs - monotonicMs();
      if (leftMs <= 0) {
        throw invalid(
          `${found.missing} after ${Math.round(patienceMs / 1000)} s. The operator gives them to each node when it can read the Secret: see that ${this.#where(name)} is there and spec.image.pullSecretRef names it, then the events of the OSImage and the operator's log.`,
        );
      }
      await this.#bell.wait(leftMs, signal);
    }
  }

  async #open(name: string): Promise<{ readonly credentials: Credentials } | { readonly missing: string }> {
    const { key, namespace } = this.#options;
    const where = this.#where(name);
    const { nodeUID, pullCredentials } = this.#object?.spec ?? {};
    if (pullCredentials === undefined || nodeUID === undefined)
      return { missing: `The NodeOS holds no pull credentials, and the order needs those of Secret ${where}` };
    const parsed = pullCredentialsSchema.safeParse(pullCredentials);
    if (!parsed.success)
      throw invalid(
        `The pull credentials in the NodeOS cannot be understood (${parsed.error.issues[0]?.path.join('.') ?? ''}); update the agent to the operator's version.`,
      );
    const { secretName, secretVersion, sealed } = parsed.data;
    if (secretName !== name)
      return {
        missing: `The NodeOS holds the pull credentials of Secret ${secretName}, and the order needs those of ${where}`,
      };
    if (parsed.data.key !== key.publicKey)
      return { missing: `The NodeOS holds the pull credentials of Secret ${where} for another key than this agent's` };
    let config;
    try {
      config = await key.open(sealed, { nodeUID, namespace, secretName, secretVersion });
    } catch (cause) {
      if (!(cause instanceof SealingError)) throw cause;
      throw invalid(
        `The pull credentials of Secret ${where} in the NodeOS do not open: ${cause.message}. Have them sealed anew: delete /${CREDENTIALS_KEY_FILE} on the node and start its agent again; and find out who wrote to the NodeOS.`,
        cause,
      );
    }
    try {
      return { credentials: parseDockerConfig(config.toString('utf8')) };
    } catch (cause) {
      throw invalid(`Secret ${where} is not a docker config: ${messageOf(cause)}`, cause);
    }
  }

  #where(name: string): string {
    return `${this.#options.namespace}/${name}`;
  }
}

function invalid(message: string, cause?: unknown): AgentError {
  return new AgentError('PullSecretInvalid', message, cause === undefined ? {} : { cause });
}
