/** Three real nodes with Treeline installed, and how the tests of this tier look at them. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { DEFAULT_NAMESPACE, type NodeOS } from '../../api/index.ts';
import { publishNodeOS } from '../../testbed/nodes/node-image.ts';
import { NodeLab } from '../../testbed/nodes/node-lab.ts';
import type { RealNode } from '../../testbed/nodes/real-node.ts';

const IMAGE = 'nodes';
/** Random bytes of each version, which take a while where the registry is slow. */
const CONTENT_BYTES = 4_000_000;

export interface Pod {
  readonly metadata: { readonly name: string; readonly uid: string };
  readonly spec: { readonly nodeName?: string };
  readonly status: {
    readonly conditions?: readonly { readonly type: string; readonly reason?: string; readonly status: string }[];
    readonly containerStatuses?: readonly { readonly restartCount: number }[];
  };
}

export class NodesBench implements AsyncDisposable {
  readonly lab: NodeLab;
  /** By version. */
  readonly digests: ReadonlyMap<string, string>;

  private constructor(lab: NodeLab, digests: ReadonlyMap<string, string>) {
    this.lab = lab;
    this.digests = digests;
  }

  /** Returns when operator and agents run on nodes with version 1; versions 2 and 3 are in the registry. */
  static async start(logs: string): Promise<NodesBench> {
    const say = (line: string): void => void process.stdout.write(`${line}\n`);
    const lab = await NodeLab.start({ nodeCount: 3, logs, say });
    try {
      const digests = new Map<string, string>();
      for (const version of ['2', '3']) {
        const content = { path: 'usr/share/treeline-testbed/content', content: randomBytes(CONTENT_BYTES) };
        digests.set(version, await publishNodeOS(lab.registry.url, version, [content]));
      }
      await lab.install();
      return new NodesBench(lab, digests);
    } catch (error) {
      await lab[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lab[Symbol.asyncDispose]();
  }

  async pods(namespace: string, label: string): Promise<readonly Pod[]> {
    const { body } = await this.lab.controlPlane.call({
      path: `/api/v1/namespaces/${namespace}/pods?labelSelector=${encodeURIComponent(label)}`,
    });
    return body['items'] as readonly Pod[];
  }

  agents(): Promise<readonly Pod[]> {
    return this.pods(DEFAULT_NAMESPACE, 'app.kubernetes.io/name=treeline-agent');
  }

  /** Has all nodes follow a version, one slot at a time. */
  async order(version: string, more: object = {}): Promise<void> {
    await this.lab.applyImage(IMAGE, {
      nodeSelector: { matchLabels: { 'kubernetes.io/os': 'linux' } },
      image: { reference: this.lab.image(version) },
      rollout: { maxUnavailable: 1 },
      ...more,
    });
  }

  /** Waits until every node runs the version, and says so. */
  async updated(version: string): Promise<void> {
    for (const { name } of this.lab.nodes) {
      await this.lab.eventually(`${name} is on version ${version}`, async () => {
        const { host, rollout } = (await this.lab.nodeOS(name))?.status ?? {};
        return rollout?.phase === 'Updated' && host?.booted?.digest === this.digests.get(version);
      });
    }
  }

  /** A node in that phase, as soon as there is one that is not among `others`. */
  async nodeIn(phase: string, others: readonly RealNode[] = []): Promise<RealNode> {
    return this.lab.eventually(`a node is ${phase}`, async () => {
      const { body } = await this.lab.controlPlane.call({ path: '/apis/treeline.dev/v1alpha1/nodeoses' });
      const found = (body['items'] as readonly NodeOS[]).find(
        ({ metadata, status }) =>
          status?.rollout?.phase === phase && !others.some(({ name }) => name === metadata.name),
      );
      return found && this.lab.node(found.metadata.name);
    });
  }

  /** Version that runs, by what is in its `/usr`, by the boot entry that it was started by, and by its own ostree. */
  async running(node: RealNode): Promise<string> {
    const version = (await node.run('cat', '/usr/lib/treeline-testbed/version')).trim();
    const link = /ostree=(\S+)/.exec(await node.run('cat', '/proc/cmdline'))?.[1] ?? '';
    const [, booted = ''] = /^\* node-os ([0-9a-f]{64}\.\d+)/m.exec(await node.run('ostree', 'admin', 'status')) ?? [];
    assert.match(await node.run('readlink', `/sysroot${link}`), new RegExp(`/${booted}\n$`));
    return version;
  }

  /** Pulls the plug and puts it in again at once; returns when the node is Ready. */
  async cutPower(node: RealNode): Promise<void> {
    await node.cutPower();
    await node.powerOn();
    await this.lab.ready(node);
  }

  /** Not at once: fsck takes no lock, and calls it corruption when the agent's clean-up deletes what it has listed. */
  async isWhole(node: RealNode): Promise<void> {
    await this.lab.eventually(`the repository of ${node.name} is whole`, async () => {
      const { code } = await node.tryRun('ostree', 'fsck', '--quiet');
      if (code !== 0) await sleep(1000);
      return code === 0;
    });
  }
}
