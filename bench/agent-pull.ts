/**
 * Started by the benchmark, bundled: pulls an image as the node agent does, with the network and the unpacking in processes
 * without privilege, or for comparison as nothing else than that, in this one. Not the agent: no order, no Kubernetes, no host.
 *
 *   node agent-pull.mjs confined|in-process REPOSITORY HOST IMAGE
 */
import { setFlagsFromString } from 'node:v8';
import { ConfinedNetwork } from '../node-agent/confined-network.ts';
import { ociArchitecture } from '../node-agent/index.ts';
import { pullImage, Repository } from '../ostree/index.ts';
import { openImageSource, parseOstreeImageReference } from '../registry/index.ts';

// As the command that starts an agent.
setFlagsFromString('--single-threaded-gc');

const [placement, path = '', host = '', image = ''] = process.argv.slice(2);
if (placement !== 'confined' && placement !== 'in-process') throw new Error(`no place is called ${placement}`);
const reference = parseOstreeImageReference(`ostree-unverified-registry:${host}/${image}`);
await using network = placement === 'confined' ? new ConfinedNetwork() : undefined;
await using source = openImageSource(reference.image, {
  plainHttpHosts: [host],
  ...(network && { connect: network.connect }),
});
await pullImage({
  repository: Repository.open(path),
  source,
  reference,
  platform: { os: 'linux', architecture: ociArchitecture() },
  unpack: placement,
});
