/** `npm run setup`: installs what the tests, the demo and the benchmarks stand on, and nothing else. */
import { readFlags } from './script-flags.ts';
import { SetupError, TIERS, ensureAll, sayOnStandardError } from './setup/index.ts';
import type { Tier } from './setup/index.ts';

const SCRIPT = {
  command: 'npm run setup',
  does: `Installs what the tests, the demo and the benchmarks stand on: Debian packages (as root), a real Kubernetes control plane
and the peer, both built from pinned sources into the cache directory. What is there already is left alone.

Tiers: ${TIERS.join(', ')} (default: all of them)

Environment:
  TREELINE_CACHE_DIR   where built things are kept (default: treeline in the XDG cache directory)
  KUBEBUILDER_ASSETS   a folder with ready etcd, kube-apiserver and kubectl to use instead of building them`,
  operands: 'TIER',
  flags: {},
} as const;

function isTier(name: string): name is Tier {
  return TIERS.some((tier) => tier === name);
}

async function main(): Promise<number> {
  const { operands } = readFlags(SCRIPT);
  const unknown = operands.find((name) => !isTier(name));
  if (unknown !== undefined) {
    process.stderr.write(`There is no tier ${unknown}; choose from ${TIERS.join(', ')}.\n`);
    return 2;
  }
  const tiers = operands.filter(isTier);
  await ensureAll(sayOnStandardError, tiers.length === 0 ? TIERS : tiers);
  process.stdout.write('Everything is ready.\n');
  return 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
