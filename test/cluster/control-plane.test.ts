/** The test control plane keeps its own promises: what the other tests stand on is tested too. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { ClaimedFolder } from '../../testbed/claimed-folder.ts';
import { CONTROL_PLANE, startControlPlane, type ControlPlane } from '../../testbed/control-plane.ts';
import { firstLine } from '../../testbed/first-line.ts';
import { must, type Json } from './crd-objects.ts';

const SELF = {
  method: 'POST',
  path: '/apis/authentication.k8s.io/v1/selfsubjectreviews',
  body: { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' },
} as const;

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

describe('the test control plane', () => {
  let controlPlane: ControlPlane;

  before(async () => {
    controlPlane = await startControlPlane();
  });
  after(async () => {
    await controlPlane?.[Symbol.asyncDispose]();
  });

  it('makes tokens that name the node they are bound to', async () => {
    const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'a' } };
    await controlPlane.kubectl(['apply', '-f', '-'], { input: JSON.stringify(node) });
    await controlPlane.kubectl(['create', 'serviceaccount', 'someone']);
    const token = await controlPlane.tokenFor({ namespace: 'default', name: 'someone' }, { node: 'a' });
    const { body } = await must(controlPlane, { ...SELF, token });
    const { userInfo } = body['status'] as { userInfo: { username: string; extra: Json } };
    assert.equal(userInfo.username, 'system:serviceaccount:default:someone');
    assert.deepEqual(userInfo.extra['authentication.kubernetes.io/node-name'], ['a']);
    const kubeconfig = await controlPlane.kubeconfigFor(token);
    await assert.rejects(
      controlPlane.kubectl(['get', 'nodes'], { kubeconfig }),
      /User "system:serviceaccount:default:someone" cannot list/,
    );
  });

  it('says why there is no token', async () => {
    const nobody = { namespace: 'default', name: 'nobody' };
    await assert.rejects(
      controlPlane.tokenFor(nobody),
      /no token for ServiceAccount default\/nobody: .*"nobody" not found/,
    );
  });

  it('grants nothing to a request without a token', async () => {
    const answer = await controlPlane.call({ path: '/api/v1/nodes', token: '' });
    assert.equal(answer.code, 403);
    assert.match(answer.message, /User "system:anonymous" cannot list resource "nodes"/);
  });

  it('keeps data, address and keys when its API server is killed and started again', async () => {
    await controlPlane.kubectl(['create', 'configmap', 'kept', '--from-literal=a=b']);
    const token = await controlPlane.tokenFor({ namespace: 'default', name: 'someone' });
    await controlPlane.killApiServer();
    await assert.rejects(controlPlane.call({ path: '/readyz' }));
    await controlPlane.startApiServer();
    assert.match(await controlPlane.kubectl(['get', 'configmap', 'kept', '-o', 'name']), /configmap\/kept/);
    assert.equal((await controlPlane.call({ ...SELF, token })).code, 201);
  });

  it('runs controllers and a scheduler when asked, and leaves nothing: no process, no file', async () => {
    const another = await startControlPlane({ controllerManager: true, scheduler: true });
    const { pids, folder } = another;
    try {
      assert.equal(pids.length, 4);
      const node = {
        apiVersion: 'v1',
        kind: 'Node',
        metadata: { name: 'a' },
        status: { capacity: { cpu: '4', memory: '8Gi', pods: '110' }, conditions: [{ type: 'Ready', status: 'True' }] },
      };
      await must(another, { method: 'POST', path: '/api/v1/nodes', body: node });
      await another.kubectl(['taint', 'node', 'a', 'node.kubernetes.io/not-ready-']);
      await another.kubectl(['create', 'deployment', 'web', '--image=web']);
      // A condition is only waited for on what is there already; the controllers have yet to make the pod.
      await another.kubectl(['wait', '--for=create', 'pod', '-l', 'app=web', '--timeout=120s']);
      await another.kubectl(['wait', '--for=condition=PodScheduled', 'pod', '-l', 'app=web', '--timeout=120s']);
    } finally {
      await another[Symbol.asyncDispose]();
    }
    assert.deepEqual(pids.filter(isAlive), []);
    assert.ok(!existsSync(folder));
  });

  it('does not outlive a test run that is killed, and what is left on disk goes with the next', async () => {
    const program = `
      import { startControlPlane } from ${JSON.stringify(import.meta.resolve('../../testbed/control-plane.ts'))};
      const { pids, folder } = await startControlPlane();
      console.log(JSON.stringify({ pids, folder }));
      setInterval(() => {}, 1000);
    `;
    const run = spawn(process.execPath, ['--input-type=module', '--eval', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const { pids, folder } = JSON.parse(await firstLine(run)) as { pids: number[]; folder: string };
    try {
      assert.deepEqual(pids.filter(isAlive), pids);
      run.kill('SIGKILL');
      for (let attempt = 0; attempt < 300 && pids.some(isAlive); attempt++) await sleep(100);
      assert.deepEqual(pids.filter(isAlive), []);
      assert.ok(existsSync(folder));
      await using _next = await ClaimedFolder.claim(CONTROL_PLANE, () => undefined);
      assert.ok(!existsSync(folder));
      assert.ok(existsSync(controlPlane.folder), 'that of one that runs stays');
    } finally {
      run.kill('SIGKILL');
    }
  });
});
