/** What an image is made of, as a hash: another one means that it has to be made anew. */
import { createHash } from 'node:crypto';
import type { OSImageBuildSpec } from '../../api/index.ts';
import { canonicalJson } from '../../registry/index.ts';

/**
 * Over the fields that decide what comes out. Not over how it is fetched, paused or retried, nor over the builder: a new
 * builder does not make every image of a fleet anew.
 */
export function inputsOf({
  base,
  containerfile,
  context,
  destination,
  version,
  maxLayers,
  ...rest
}: OSImageBuildSpec): string {
  const signingKey = rest.signingKeySecretRef?.name;
  const inputs = { base, containerfile, context, destination, version, maxLayers, signingKey };
  // Through JSON, so that what is absent and what is undefined are the same.
  return createHash('sha256')
    .update(canonicalJson(JSON.parse(JSON.stringify(inputs))))
    .digest('hex')
    .slice(0, 32);
}
