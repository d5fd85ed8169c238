/**
 * A real Kubernetes control plane on loopback: etcd, kube-apiserver and, where a test needs them, the controller
 * manager and the scheduler. Keys and tokens are made at start and die with it. Nodes and pods are objects that nobody
 * runs: whoever uses this marks them Ready through their status.
 */
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ensureKubernetesBinary, type ControlPlaneBinary } from '../tools/setup/control-plane-binaries.ts';
import { sayOnStandardError } from '../tools/setup/say.ts';
import { ClaimedFolder, type FolderKind } from './claimed-folder.ts';
import { ApiClient, runKubectl, type ApiAnswer, type ApiCall, type KubectlOptions } from './control-plane-client.ts';
import {
  API_SERVICE_ADDRESS,
  apiServerFlags,
  controllerManagerFlags,
  etcdFlags,
  schedulerFlags,
  type Binaries,
  type ControlPlaneOptions,
  type Layout,
} from './control-plane-flags.ts';
import { freePorts, ServerProcess } from './control-plane-process.ts';

/** How long a server may take to answer for the first time; many times what two busy cores need. */
const READY_TIMEOUT_MS = 240_000;

/** A port can be taken between our look and the server's bind: start afresh this often before giving up. */
const START_ATTEMPTS = 3;

/** Folders of control planes that are part of nothing larger. */
export const CONTROL_PLANE: FolderKind = { prefix: 'treeline-control-plane-', what: 'a control plane' };

export interface ServiceAccountRef {
  readonly namespace: string;
  readonly name: string;
}

/** What a token dies with. A Pod's token names the node of the Pod, a Node's token that Node. */
export type TokenBinding = { readonly pod: string } | { readonly node: string };

export class ControlPlane implements AsyncDisposable {
  /** Holds everything that was written, logs included; removed at the end. */
  readonly folder: string;
  /** `https://127.0.0.1:PORT`, or with real nodes that of the Service `kubernetes`. */
  readonly url: string;
  readonly adminToken: string;
  /** Path of a kubeconfig for a member of system:masters and treeline:break-glass. */
  readonly adminKubeconfig: string;
  readonly #etcd: ServerProcess;
  readonly #apiServer: ServerProcess;
  readonly #others: ServerProcess[] = [];
  readonly #layout: Layout;
  readonly #place: AsyncDisposable;
  #certificateAuthority = '';
  #client: ApiClient | undefined;

  constructor(layout: Layout, place: AsyncDisposable, options: ControlPlaneOptions) {
    this.#layout = layout;
    this.#place = place;
    this.folder = layout.folder;
    this.url = `https://${layout.apiAddress}:${layout.apiPort}`;
    this.adminToken = layout.tokens.admin;
    this.adminKubeconfig = join(layout.folder, 'admin.kubeconfig');
    this.#etcd = this.#server('etcd', etcdFlags(layout));
    this.#apiServer = this.#server('kube-apiserver', apiServerFlags(layout, options));
    if (options.controllerManager === true) {
      this.#others.push(this.#server('kube-controller-manager', controllerManagerFlags(layout, options)));
    }
    if (options.scheduler === true) this.#others.push(this.#server('kube-scheduler', schedulerFlags(layout)));
  }

  /** PEM that the API server's certificate is verified with. */
  get certificateAuthority(): string {
    return this.#certificateAuthority;
  }

  /** Pids of everything that runs for this control plane. */
  get pids(): readonly number[] {
    return [this.#etcd, this.#apiServer, ...this.#others].flatMap(({ pid }) => (pid === undefined ? [] : [pid]));
  }

  /** Starts every server; used once, by `startControlPlane`. */
  async start(): Promise<void> {
    const { folder, tokens, etcdPort } = this.#layout;
    await this.#etcd.start();
    await this.#apiServer.start();
    await this.#etcd.waitUntil(() => answers(`http://127.0.0.1:${etcdPort}/readyz`), READY_TIMEOUT_MS);
    // The API server makes its certificate itself, at its first start, and keeps it over restarts.
    const certificate = join(folder, 'certificates', 'apiserver.crt');
    await this.#apiServer.waitUntil(async () => (await textOf(certificate)).includes('-----END'), READY_TIMEOUT_MS);
    this.#certificateAuthority = await readFile(certificate, 'utf8');
    this.#client = new ApiClient(this.url, this.#certificateAuthority, this.adminToken);
    await writeFile(this.adminKubeconfig, this.kubeconfig(tokens.admin), { mode: 0o600 });
    await writeFile(join(folder, 'controller-manager.kubeconfig'), this.kubeconfig(tokens.controllerManager));
    await writeFile(join(folder, 'scheduler.kubeconfig'), this.kubeconfig(tokens.scheduler));
    await this.waitReady();
    for (const server of this.#others) await server.start();
    const [controllerManager] = this.#others.filter(({ name }) => name === 'kube-controller-manager');
    // Until this ServiceAccount is there, every Pod without a ServiceAccount of its own is refused.
    await controllerManager?.waitUntil(
      async () => (await this.call({ path: '/api/v1/namespaces/default/serviceaccounts/default' })).code === 200,
      READY_TIMEOUT_MS,
    );
  }

  /** Resolves when `/readyz` says ok; throws with the end of the API server's log when it does not within a minute. */
  async waitReady(): Promise<void> {
    await this.#apiServer.waitUntil(async () => {
      try {
        return (await this.call({ path: '/readyz' })).code === 200;
      } catch {
        return false; // not listening yet
      }
    }, READY_TIMEOUT_MS);
  }

  /** Sends one request, as the administrator unless it carries a token. Throws only when there was no answer. */
  async call(call: ApiCall): Promise<ApiAnswer> {
    if (this.#client === undefined) throw new Error('the control plane has not been started');
    return this.#client.call(call);
  }

  /** Runs the pinned kubectl, as the administrator unless told otherwise; throws a KubectlError when it fails. */
  kubectl(args: readonly string[], options: KubectlOptions = {}): Promise<string> {
    const environment = {
      KUBECONFIG: options.kubeconfig ?? this.adminKubeconfig,
      // Discovery is cached in here, not in the home of whoever runs the tests.
      KUBECACHEDIR: join(this.folder, 'kubectl-cache'),
      HOME: this.folder,
      ...(options.plugins !== undefined && { PATH: `${options.plugins}:${process.env['PATH']}` }),
    };
    return runKubectl(this.#binary('kubectl'), args, environment, options);
  }

  /**
   * Asks the TokenRequest API for a token of a ServiceAccount that exists, bound to a Pod (in the same namespace, that
   * runs as this ServiceAccount) or a Node that exists. It lives for `expirationSeconds` (default 3600, at least 600).
   */
  async tokenFor(account: ServiceAccountRef, binding?: TokenBinding, expirationSeconds = 3600): Promise<string> {
    const boundObjectRef =
      binding === undefined
        ? undefined
        : 'pod' in binding
          ? { apiVersion: 'v1', kind: 'Pod', name: binding.pod }
          : { apiVersion: 'v1', kind: 'Node', name: binding.node };
    const answer = await this.call({
      method: 'POST',
      path: `/api/v1/namespaces/${account.namespace}/serviceaccounts/${account.name}/token`,
      body: {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        spec: { expirationSeconds, ...(boundObjectRef === undefined ? {} : { boundObjectRef }) },
      },
    });
    const token = (answer.body['status'] as { token?: string } | undefined)?.token;
    if (token === undefined) {
      throw new Error(`no token for ServiceAccount ${account.namespace}/${account.name}: ${answer.message}`);
    }
    return token;
  }

  /** What the kubelet of a real node shows for itself. */
  nodeToken(name: string): string {
    const token = this.#layout.tokens.nodes.get(name);
    if (token === undefined) throw new Error(`this control plane was started without the node ${name}`);
    return token;
  }

  /** The text of a kubeconfig that carries `token`. */
  kubeconfig(token: string): string {
    const certificateAuthority = Buffer.from(this.#certificateAuthority).toString('base64');
    // JSON is YAML, and needs no quoting rules.
    return JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'test', cluster: { server: this.url, 'certificate-authority-data': certificateAuthority } }],
      users: [{ name: 'user', user: { token } }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'user' } }],
      'current-context': 'test',
    });
  }

  /** Writes a kubeconfig that carries `token`, readable by its owner alone, and returns its path. */
  async kubeconfigFor(token: string): Promise<string> {
    const path = join(this.folder, `${randomUUID()}.kubeconfig`);
    await writeFile(path, this.kubeconfig(token), { mode: 0o600 });
    return path;
  }

  /** Kills the API server; etcd keeps its data. Every connection and watch is cut. */
  async killApiServer(): Promise<void> {
    await this.#apiServer.kill();
  }

  /** Starts a killed API server again, on the same port, with the same data and keys, and waits until it is ready. */
  async startApiServer(): Promise<void> {
    await this.#apiServer.start();
    await this.waitReady();
  }

  async restartApiServer(): Promise<void> {
    await this.killApiServer();
    await this.startApiServer();
  }

  /** Kills every server and removes the folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client?.[Symbol.asyncDispose]();
    for (const server of [...this.#others, this.#apiServer, this.#etcd]) await server.kill();
    await this.#place[Symbol.asyncDispose]();
  }

  #server(name: ControlPlaneBinary, flags: readonly string[]): ServerProcess {
    return new ServerProcess(name, [this.#binary(name), ...flags], join(this.folder, `${name}.log`));
  }

  #binary(name: ControlPlaneBinary): string {
    const path = this.#layout.binaries[name];
    if (path === undefined) throw new Error(`this control plane was started without ${name}`);
    return path;
  }
}

/**
 * Starts a control plane and waits until it is ready, about 3 s. Dispose of it with `await using`.
 * Binaries that are not there yet are built first, which takes minutes: `npm run setup` does that ahead of the tests.
 */
export async function startControlPlane(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
  const binaries = await requiredBinaries(options);
  for (let attempt = 1; ; attempt++) {
    const place = await placeIn(options.parentFolder);
    const controlPlane = new ControlPlane(await prepare(binaries, place.path, options), place, options);
    try {
      await controlPlane.start();
      return controlPlane;
    } catch (error) {
      await controlPlane[Symbol.asyncDispose]();
      if (attempt === START_ATTEMPTS || !String(error).includes('address already in use')) throw error;
    }
  }
}

async function requiredBinaries(options: ControlPlaneOptions): Promise<Binaries> {
  const names: ControlPlaneBinary[] = ['etcd', 'kube-apiserver', 'kubectl'];
  if (options.controllerManager === true) names.push('kube-controller-manager');
  if (options.scheduler === true) names.push('kube-scheduler');
  const binaries: Partial<Record<ControlPlaneBinary, string>> = {};
  for (const name of names) binaries[name] = await ensureKubernetesBinary(name, sayOnStandardError);
  return binaries;
}

/** A folder that is removed when it is disposed of. */
interface Place extends AsyncDisposable {
  readonly path: string;
}

/** In the folder of whatever it is part of, or one of its own. */
async function placeIn(parentFolder: string | undefined): Promise<Place> {
  if (parentFolder === undefined) return ClaimedFolder.claim(CONTROL_PLANE, sayOnStandardError);
  const path = await mkdtemp(join(parentFolder, 'control-plane-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true, maxRetries: 3 }) };
}

/** Chooses ports and tokens and writes what the servers read at start. */
async function prepare(binaries: Binaries, folder: string, { nodes = [] }: ControlPlaneOptions): Promise<Layout> {
  const [etcdPort = 0, etcdPeerPort = 0, freePort = 0] = await freePorts(3);
  const [apiAddress, apiPort] = nodes.length === 0 ? ['127.0.0.1', freePort] : [API_SERVICE_ADDRESS, 443];
  const tokens = {
    admin: randomUUID(),
    controllerManager: randomUUID(),
    scheduler: randomUUID(),
    nodes: new Map(nodes.map((name) => [name, randomUUID()])),
  };
  const users = [
    // Tests make and change NodeOSes as no person should.
    `${tokens.admin},admin,admin,"system:masters,treeline:break-glass"`,
    `${tokens.controllerManager},system:kube-controller-manager,controller-manager`,
    `${tokens.scheduler},system:kube-scheduler,scheduler`,
    ...[...tokens.nodes].map(([name, token]) => `${token},system:node:${name},${name},system:nodes`),
  ];
  const keys = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    privateKeyEncoding: { type: 'sec1', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
  await mkdir(join(folder, 'certificates'));
  await writeFile(join(folder, 'tokens.csv'), `${users.join('\n')}\n`, { mode: 0o600 });
  await writeFile(join(folder, 'service-account.key'), keys.privateKey, { mode: 0o600 });
  await writeFile(join(folder, 'service-account.pub'), keys.publicKey);
  return { folder, binaries, etcdPort, etcdPeerPort, apiAddress, apiPort, tokens };
}

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(url)).ok;
  } catch {
    return false; // not listening yet
  }
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return ''; // not written yet
  }
}
