/**
 * A real agent on a real sysroot, a real API server and a real registry, and between agent and API server a connection that
 * can be cut. The test plays the operator, so that every order is exactly the one that the promise is about.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { DEFAULT_NAMESPACE, toTimestamp } from '../../api/index.ts';
import type { NodeOS, Order, Progress } from '../../api/index.ts';
import { runAgent } from '../../node-agent/agent.ts';
import { confinedBelow } from '../../testbed/confined-processes.ts';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { agentToken } from '../../testbed/control-plane-treeline.ts';
import { startCutConnection } from '../../testbed/cut-connection.ts';
import { deriveImage } from '../../testbed/derived-image.ts';
import { publishOS } from '../../testbed/os-publication.ts';
import { startRegistry } from '../../testbed/registry.ts';
import { clearCluster, sharedControlPlane } from '../../testbed/shared-control-plane.ts';
import { makeSmallOSImage } from '../../testbed/small-os-image.ts';
import { bootIDPath, makeSysroot, removeWithSysroots } from '../../testbed/sysroot.ts';
import { runCommand } from '../../tools/setup/command.ts';

const NAME = 'cut-off';
const NODE_OS = `/apis/treeline.dev/v1alpha1/nodeoses/${NAME}`;
const PATIENCE_MS = 120_000;
/** Noise, so that it stays as large when it is compressed. */
const LAYER_BYTES = 150_000;
const RATE = 50_000;
/** What comes at once, whatever the rate. */
const BURST_BYTES = 16_384;
/** What may be missing of the time that a limit stands for. */
const LEAST_SHARE = 0.8;

describe('an agent that was cut off', () => {
  let controlPlane: ControlPlane;
  let folder: string;

  before(async () => {
    controlPlane = await sharedControlPlane();
    await clearCluster(controlPlane);
    folder = await mkdtemp(join(tmpdir(), 'treeline-cut-off-'));
  });

  after(async () => {
    await removeWithSysroots(folder);
    await clearCluster(controlPlane);
  });

  async function call(method: 'GET' | 'POST' | 'PATCH', path: string, body?: object): Promise<NodeOS> {
    const answer = await controlPlane.call({ method, path, ...(body && { body }) });
    assert.ok(answer.code < 300, `${method} ${path}: ${answer.message}`);
    return answer.body as unknown as NodeOS;
  }

  /** Polls the NodeOS until `look` finds what it wants. */
  async function eventually(what: string, look: (os: NodeOS) => boolean | Promise<boolean>): Promise<NodeOS> {
    const end = performance.now() + PATIENCE_MS;
    for (;;) {
      const os = await call('GET', NODE_OS);
      if (await look(os)) return os;
      assert.ok(performance.now() < end, `never: ${what}; ${JSON.stringify(os.status)}`);
      await delay(50);
    }
  }

  it('for longer than its boot approval was live refuses it when it is back, and runs what it ran', async () => {
    await using registry = await startRegistry({ storage: join(folder, 'registry') }).then((started) => ({
      ...started,
      [Symbol.asyncDispose]: () => started.stop(),
    }));
    const os = await publishOS(await makeSmallOSImage(folder), { registry });
    const sysroot = await makeSysroot({
      folder: join(folder, 'node'),
      stateroot: os.name,
      image: os.versions[1].reference,
      plainHttpHost: registry.host,
    });
    const { metadata } = await call('POST', '/api/v1/nodes', {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: NAME },
    });
    const kind = { apiVersion: 'treeline.dev/v1alpha1', kind: 'NodeOS', metadata: { name: NAME } };
    await call('POST', '/apis/treeline.dev/v1alpha1/nodeoses', {
      ...kind,
      spec: { imageName: 'fleet', nodeUID: metadata.uid },
    });

    const kubeconfig = await controlPlane.kubeconfigFor(await agentToken(controlPlane, NAME));
    const text = await readFile(kubeconfig, 'utf8');
    const port = Number(/https:\/\/127\.0\.0\.1:(\d+)/.exec(text)?.[1] ?? 0);
    await using connection = await startCutConnection(port);
    const through = join(folder, 'through.kubeconfig');
    await writeFile(through, text.replace(`127.0.0.1:${port}`, `127.0.0.1:${connection.port}`));

    const stop = new AbortController();
    const agent = runAgent(
      {
        nodeName: NAME,
        namespace: DEFAULT_NAMESPACE,
        kubeconfig: through,
        host: 'sandbox',
        sysroot: sysroot.path,
        runDirectory: sysroot.runDirectory,
        plainHttpHosts: [registry.host],
        log: pino({ level: process.env['TREELINE_TEST_LOG'] ?? 'silent' }),
      },
      stop.signal,
    );
    try {
      const digest = await deriveImage({
        registryUrl: registry.url,
        repository: os.name,
        baseTag: '2',
        tag: 'large',
        files: [{ path: 'usr/share/noise', content: randomBytes(LAYER_BYTES) }],
        labels: {},
        createdBy: 'COPY noise /usr/share',
      });
      const image = `ostree-unverified-registry:${registry.host}/${os.name}@${digest}`;
      const give = (order: Order) => call('PATCH', NODE_OS, { spec: { order } });
      const settled = (order: Order) =>
        eventually(`${order.id} is settled`, ({ status }) => status?.lastOrder?.id === order.id);

      const stage = { id: 'stage', image, digest, goal: 'Stage', limits: { bytesPerSecond: RATE } } as const;
      const ordered = performance.now();
      await give(stage);
      const seen: Progress[] = [];
      const confined = new Set<number>();
      const staged = await eventually('it is staged', async ({ status }) => {
        if (status?.progress !== undefined) seen.push(status.progress);
        for (const pid of await confinedBelow(process.pid)) confined.add(pid);
        return status?.lastOrder?.id === stage.id;
      });
      assert.equal(staged.status?.lastOrder?.result, 'Succeeded', JSON.stringify(staged.status));
      assert.ok(confined.size >= 2, 'an agent fetches and unpacks without privilege unless told otherwise');
      assert.deepEqual(await confinedBelow(process.pid), []);
      const seconds = (performance.now() - ordered) / 1000;
      assert.ok(
        seconds >= ((LAYER_BYTES - BURST_BYTES) / RATE) * LEAST_SHARE,
        `the limit of the order is kept: ${seconds} s`,
      );
      assert.equal(staged.status.host?.staged?.locked, true);
      assert.ok(
        staged.status.host.staged.created !== undefined,
        'the guard against downgrades has something to compare',
      );
      assert.ok(
        seen.some(({ layersTotal, bytesTotal }) => layersTotal > 0 && bytesTotal > 0),
        `layers and bytes are on the object while it stages: ${JSON.stringify(seen)}`,
      );

      const bootID = await readFile(bootIDPath(sysroot.runDirectory), 'utf8');
      const deployments = await runCommand('ostree', ['admin', 'status', `--sysroot=${sysroot.path}`]);
      connection.cut();
      const begun = Date.now();
      const notAfter = toTimestamp(new Date(begun + 2000));
      const approval = { digest, notBefore: toTimestamp(new Date(begun - 1000)), notAfter };
      await call('PATCH', `${NODE_OS}/status`, {
        status: { rollout: { phase: 'Rebooting', phaseTime: approval.notBefore, digest, preBootID: bootID } },
      });
      const boot = { id: 'boot', image, digest, goal: 'Boot', bootApproval: approval } as const;
      await give(boot);
      while (Date.now() <= Date.parse(notAfter)) await delay(50);
      connection.heal();

      const refused = await settled(boot);
      assert.deepEqual(
        [refused.status?.lastOrder?.result, refused.status?.lastOrder?.reason],
        ['Refused', 'ApprovalExpired'],
      );
      assert.equal(refused.status?.host?.staged?.locked, true);

      // Meanwhile the fleet is after something else.
      const other = { id: 'observe', image, digest, goal: 'Observe' } as const;
      const { bootApproval: _, ...bare } = boot;
      await give({ ...bare, bootApproval: null, ...other } as unknown as Order);
      await settled(other);
      assert.equal(await readFile(bootIDPath(sysroot.runDirectory), 'utf8'), bootID);
      assert.equal(await runCommand('ostree', ['admin', 'status', `--sysroot=${sysroot.path}`]), deployments);
    } finally {
      stop.abort();
      assert.equal(await agent, 'Stopped');
    }
  });
});
