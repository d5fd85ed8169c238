/** The network of the lab: addresses on the loopback device of a network namespace that nobody else is in. */
import { readFile } from 'node:fs/promises';
import { runCommand } from '../../tools/setup/command.ts';
import { API_SERVICE_ADDRESS } from '../control-plane-flags.ts';
import { nodeAddress } from './node-configuration.ts';

/** Where the registry is, for nodes and for pods. */
export const REGISTRY_ADDRESS = '10.77.0.1';

/**
 * Gives this process's network namespace the addresses of a lab with so many nodes. Throws when it is not a new one of our own:
 * nothing of the lab may be reachable from elsewhere, nor reach out.
 */
export async function makeLabNetwork(nodeCount: number): Promise<void> {
  const devices = (await readFile('/proc/net/dev', 'utf8'))
    .split('\n')
    .flatMap((line) => /^\s*(\S+):/.exec(line)?.[1] ?? []);
  if (devices.some((name) => name !== 'lo')) {
    throw new Error(
      'Real nodes need network and mount namespaces of their own: start them with npm run test:nodes, or npm run demo -- --real-nodes.',
    );
  }
  const addresses = [API_SERVICE_ADDRESS, REGISTRY_ADDRESS];
  for (let number = 1; number <= nodeCount; number++) addresses.push(nodeAddress(number));
  await runCommand('ip', ['link', 'set', 'lo', 'up']);
  for (const address of addresses) await runCommand('ip', ['address', 'replace', `${address}/32`, 'dev', 'lo']);
}
