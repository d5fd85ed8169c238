/** What a pull Secret holds: a docker config that can be read, and that is small enough to be given to every node. */
import { PULL_SECRET_BYTES } from '../../api/index.ts';
import { type Credentials, parseDockerConfig } from '../../registry/index.ts';
import { OperatorError } from '../errors.ts';
import type { Secret } from '../kube/objects.ts';

const KEY = '.dockerconfigjson';

export interface PullSecret {
  /** Changes with every change of the Secret, and says nothing of what is in it: many may read it. */
  readonly version: string;
  /** The docker config, as it is. */
  readonly config: string;
  readonly credentials: Credentials;
}

/** Throws `OperatorError` `PullSecret`, or `RegistryError` when it is no docker config; neither quotes what it holds. */
export function parsePullSecret({ metadata, data }: Secret, where: string): PullSecret {
  const encoded = data?.[KEY];
  if (encoded === undefined)
    throw new OperatorError(
      'PullSecret',
      `pull Secret ${where} has no key ${KEY}: make it with \`kubectl create secret docker-registry\``,
    );
  const bytes = Buffer.from(encoded, 'base64');
  if (bytes.length > PULL_SECRET_BYTES)
    throw new OperatorError(
      'PullSecret',
      `pull Secret ${where} holds ${bytes.length} bytes, and nodes are given up to ${PULL_SECRET_BYTES}: leave only the registries in it that its OSImages need`,
    );
  const config = bytes.toString('utf8');
  return { version: `${metadata.uid}/${metadata.resourceVersion}`, config, credentials: parseDockerConfig(config) };
}

/** The sentence for a Secret that is not there. */
export function missingPullSecret(where: string, cause: unknown): OperatorError {
  return new OperatorError('PullSecret', `pull Secret ${where} does not exist: create it`, cause);
}
