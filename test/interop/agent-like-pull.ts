/**
 * Pulls as a node agent does, the network and the unpacking in processes without privilege: HOST REPOSITORY REFERENCE
 * [PRIORITY]. There is no command for it that needs neither an order nor a cluster.
 */
import { ConfinedNetwork } from '../../node-agent/confined-network.ts';
import { pullImage, Repository, setIoPriority } from '../../ostree/index.ts';
import { openImageSource, parseOstreeImageReference } from '../../registry/index.ts';
import { PLATFORM } from './import-fixture.ts';

const [host = '', path = '', text = '', priority] = process.argv.slice(2);
if (priority === 'idle' || priority === 'best-effort') setIoPriority(priority);
const reference = parseOstreeImageReference(text);
await using network = new ConfinedNetwork();
await using source = openImageSource(reference.image, { plainHttpHosts: [host], connect: network.connect });
await pullImage({ repository: Repository.open(path), source, reference, platform: PLATFORM, unpack: 'confined' });
