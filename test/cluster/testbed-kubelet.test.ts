import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startControlPlane } from '../../testbed/control-plane.ts';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { KubeletStandIn } from '../../testbed/kubelet-stand-in.ts';
import { bootIDPath, drawBootID } from '../../testbed/sysroot.ts';
import { createWorkload } from '../../testbed/workload.ts';

const NODES = ['node-1', 'node-2', 'node-3'];

describe('The stand-in for kubelets', () => {
  let folder: string;
  let controlPlane: ControlPlane;
  let kubelet: KubeletStandIn;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'treeline-kubelet-'));
    controlPlane = await startControlPlane({ controllerManager: true, nodeLifecycle: true, scheduler: true });
    kubelet = new KubeletStandIn(controlPlane);
    for (const name of NODES) {
      const runDirectory = join(folder, name);
      await drawBootID(runDirectory);
      await kubelet.register({ name, runDirectory });
    }
    await createWorkload(controlPlane, 4);
  });

  after(async () => {
    await kubelet?.[Symbol.asyncDispose]();
    await controlPlane?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  const get = (path: string) => controlPlane.kubectl(['get', ...path.split(' ')]);

  it('runs what the scheduler binds: the workload is spread over all nodes and Ready', async () => {
    const used = await get('pods -l app=shop -o jsonpath={.items[*].spec.nodeName}');
    assert.deepEqual([...new Set(used.split(' '))].toSorted(), NODES);
    assert.equal(await get('pdb shop -o jsonpath={.status.disruptionsAllowed}'), '1');
  });

  it('lets a node be drained by the Eviction API, budget respected, and the pods come up elsewhere', async () => {
    await controlPlane.kubectl(['drain', 'node-1', '--ignore-daemonsets', '--timeout=120s']);
    await controlPlane.kubectl(['rollout', 'status', 'deployment/shop', '--timeout=120s']);
    const used = await get('pods -l app=shop -o jsonpath={.items[*].spec.nodeName}');
    assert.ok(!used.includes('node-1'), used);
    await controlPlane.kubectl(['uncordon', 'node-1']);
  });

  it('reports a machine NotReady while it is down, and its new boot ID only once it is back', async () => {
    const bootID = () => get('node node-2 -o jsonpath={.status.nodeInfo.bootID}');
    const before = await bootID();
    await kubelet.machineDown('node-2');
    await writeFile(bootIDPath(join(folder, 'node-2')), 'the next boot');
    await controlPlane.kubectl(['wait', '--for=condition=Ready=false', 'node/node-2', '--timeout=60s']);
    assert.equal(await bootID(), before);
    await kubelet.machineUp('node-2');
    await controlPlane.kubectl(['wait', '--for=condition=Ready', 'node/node-2', '--timeout=60s']);
    assert.equal(await bootID(), 'the next boot');
  });

  it('goes on after the API server was away', async () => {
    await controlPlane.killApiServer();
    await kubelet.machineDown('node-3');
    await controlPlane.startApiServer();
    await controlPlane.kubectl(['wait', '--for=condition=Ready=false', 'node/node-3', '--timeout=60s']);
    await kubelet.machineUp('node-3');
    await controlPlane.kubectl(['wait', '--for=condition=Ready', 'node/node-3', '--timeout=60s']);
  });
});
