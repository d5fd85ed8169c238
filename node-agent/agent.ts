/** Puts the agent together from its parts and the real world, and runs it. */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import { AGENT_FIELD_MANAGER, API_VERSION, type NodeOS } from '../api/index.ts';
import { type IoPriority, type PullLimits, setIoPriority, type Unpacking } from '../ostree/index.ts';
import type { RegistryOptions } from '../registry/index.ts';
import { whyNotConfined } from './confinement-check.ts';
import { loadCredentialsKey } from './credentials-key.ts';
import { failureOf } from './failure.ts';
import { createHost, type HostKind, hostTool } from './host/create-host.ts';
import type { Host } from './host/host.ts';
import { hostRunner } from './host/ostree-admin.ts';
import type { OstreeTool } from './host/ostree-tool.ts';
import { shortcomingsOf } from './host/shortcomings.ts';
import { hasOwnMounts, makeWritable } from './host/writable.ts';
import { dropUnusedImages, imageCommitReader, imageFactsReader, imagePuller, requireLocks } from './image-store.ts';
import { connectionFromKubeconfig, connectionInCluster } from './kube/connection.ts';
import { KubeClient } from './kube/kube-client.ts';
import { watchNodeOS } from './kube/node-os-watch.ts';
import { type AgentExit, OrderLoop } from './order-loop.ts';
import { PullCredentialsReader } from './pull-credentials.ts';

export interface AgentOptions {
  readonly nodeName: string;
  /** Where the pull Secrets live. */
  readonly namespace: string;
  /** Path; without it, the pod's service account is used. */
  readonly kubeconfig?: string;
  readonly host: HostKind;
  readonly sysroot: string;
  /** Sandbox only: the directory that plays `/run`; by default `run/treeline` in the sysroot. */
  readonly runDirectory?: string;
  readonly plainHttpHosts?: readonly string[];
  /** PEM file with certificate authorities of registries, beside the system's. */
  readonly certificateAuthorityFile?: string;
  /** The host's signature policy; by default `/etc/treeline/signature-policy.yaml` of the host. */
  readonly signaturePolicyFile?: string;
  /** Where layers are unpacked, and where registries are talked to; `confined` by default. */
  readonly unpack?: Unpacking;
  readonly fetch?: Unpacking;
  /** Of each pull. */
  readonly limits?: PullLimits;
  /** Of the whole process, and of the host's tools that it runs. */
  readonly ioPriority?: IoPriority;
  readonly agentVersion?: string;
  readonly log: Logger;
  readonly now?: () => Date;
  readonly random?: () => number;
}

/**
 * Runs until `signal` aborts or the host reboots. After `Rebooting` the process must end: a machine ends it anyway, a
 * sandbox expects to be started again. Throws AgentError only for what no retry can mend (kubeconfig, options).
 */
export async function runAgent(options: AgentOptions, signal: AbortSignal): Promise<AgentExit> {
  const { nodeName, namespace, sysroot, log, random = Math.random } = options;
  if (options.ioPriority !== undefined) beModest(options.ioPriority, log);
  const connection = await (options.kubeconfig === undefined
    ? connectionInCluster(process.env)
    : connectionFromKubeconfig(options.kubeconfig));
  await using client = new KubeClient(connection);
  const key = await loadCredentialsKey({ sysroot, nodeName, randomBytes, log });
  const credentials = new PullCredentialsReader({ key, namespace, monotonicMs: () => performance.now() });
  const host = createHost(options.host, {
    ...options,
    credentialsKey: key.publicKey,
    readImageFacts: imageFactsReader(sysroot),
    imageCommitOf: imageCommitReader(sysroot),
  });
  const tool = hostTool(options.host, sysroot);
  const prepare = async () => {
    // A pod has mounts of its own, and so has a unit with PrivateMounts=; else this would change everybody's.
    const own = sysroot !== '/' || (await hasOwnMounts());
    if (options.host !== 'sandbox' && own) await makeWritable(sysroot);
  };
  const loop = new OrderLoop({
    host,
    examine: examination(options, host, tool, prepare),
    pull: imagePuller({
      sysroot,
      registry: await registryOptions(options),
      environment: process.env,
      unpack: options.unpack ?? 'confined',
      fetch: options.fetch ?? 'confined',
      ...(options.limits !== undefined && { limits: options.limits }),
      ...(options.signaturePolicyFile !== undefined && { signaturePolicyFile: options.signaturePolicyFile }),
      readPullCredentials: (name, cut) => credentials.read(name, cut),
      prepare,
      retainVar: () => tool.retainsVar(),
      onWarning: (message) => log.warn(message),
      onServed: (place) => log.info({ place }, `the image comes from ${place}`),
    }),
    cleanUp: async (status) => {
      await prepare();
      await dropUnusedImages(sysroot, status);
    },
    patchStatus: async (patch, cut) => {
      const path = `/apis/${API_VERSION}/nodeoses/${encodeURIComponent(nodeName)}/status`;
      const query = { fieldManager: AGENT_FIELD_MANAGER };
      return (await client.request({ method: 'PATCH', path, query, body: patch, signal: cut })) as NodeOS;
    },
    now: options.now ?? (() => new Date()),
    clockSkewMs: () => client.serverClock.skewMs(),
    random,
    log,
  });
  const end = new AbortController();
  const watching = watchNodeOS({
    client,
    nodeName,
    random,
    signal: AbortSignal.any([signal, end.signal]),
    onObject: (object) => {
      credentials.observe(object);
      loop.observe(object);
    },
    onTrouble: (error, failures) => log.warn({ failures, ...failureOf(error) }, 'the watch broke; starting it again'),
  });
  log.info({ node: nodeName, host: options.host, sysroot }, 'agent started');
  try {
    const exit = await loop.run(signal);
    log.info({ exit }, 'agent stopped');
    return exit;
  } finally {
    end.abort();
    await watching;
  }
}

/** A sandbox is no host, and offers what its tests need. */
function examination(
  options: AgentOptions,
  host: Host,
  tool: OstreeTool,
  makeWritable: () => Promise<void>,
): () => Promise<readonly string[]> {
  const { host: kind, sysroot, unpack = 'confined', fetch = 'confined' } = options;
  if (kind === 'sandbox') return async () => [];
  // One without the network needs all that the others need.
  const network = unpack !== 'confined';
  return () =>
    shortcomingsOf({
      sysroot,
      run: hostRunner(sysroot),
      tool,
      status: () => host.status(),
      makeWritable,
      lock: () => requireLocks(sysroot),
      ...(sysroot !== '/' && { firstProcessRoot: '/proc/1/root' }),
      ...(kind !== 'ostree-admin' && { deployer: kind }),
      ...((unpack === 'confined' || fetch === 'confined') && { whyNotConfined: () => whyNotConfined(network) }),
    });
}

/** A node that is updated at the usual priority is better than one that is not. */
function beModest(priority: IoPriority, log: Logger): void {
  try {
    setIoPriority(priority);
  } catch (error) {
    log.warn(failureOf(error), `the I/O priority stays as it is, not ${priority}`);
  }
}

async function registryOptions(options: AgentOptions): Promise<RegistryOptions> {
  const file = options.certificateAuthorityFile;
  return {
    plainHttpHosts: options.plainHttpHosts ?? [],
    userAgent: `treeline-agent/${options.agentVersion ?? 'unknown'}`,
    ...(file === undefined ? {} : { certificateAuthority: await readFile(file, 'utf8') }),
  };
}
