/** The usual fleet: agents are processes, and each node is a sysroot on disk that plays a host. */
import { join } from 'node:path';
import { startFleet } from '../testbed/fleet.ts';
import type { Machine } from '../testbed/machine.ts';
import { ensureOSImage } from '../testbed/os-image.ts';
import { checkRepository } from '../testbed/repository-check.ts';
import { tryCommand } from '../tools/setup/command.ts';
import { ensureAll } from '../tools/setup/index.ts';
import type { DemoFleet, DemoFleetOptions, DemoNode } from './demo-fleet.ts';

export async function startSandboxFleet(options: DemoFleetOptions): Promise<DemoFleet> {
  const { say, signal } = options;
  await ensureAll(say, ['demo']);
  const os = await ensureOSImage(say);
  signal.throwIfAborted();
  const fleet = await startFleet({ ...options, os });
  return {
    controlPlane: fleet.controlPlane,
    versions: fleet.os.versions,
    news: { 2: 'another kernel and a few changed files', 3: 'version 2 with one ordinary OCI layer on top' },
    nodes: fleet.machines.map(nodeOf),
    way: [],
    [Symbol.asyncDispose]: () => fleet[Symbol.asyncDispose](),
  };
}

function nodeOf(machine: Machine): DemoNode {
  const { path } = machine.sysroot;
  return {
    name: machine.name,
    get reboots() {
      return machine.reboots;
    },
    ostreeStatus: () => tryCommand('ostree', ['admin', 'status', `--sysroot=${path}`]),
    fsck: () => checkRepository(join(path, 'ostree', 'repo')),
  };
}
