/** Puts the operator together and runs it. Everything it must remember is in the API; it may be killed at any moment. */
import { readFile } from 'node:fs/promises';
import { readHostConfiguration, resolveTag } from '../registry/index.ts';
import { readPolicyFile, SignatureError, type SignaturePolicyFile, verifyImage } from '../registry/signatures/index.ts';
import { systemClock, type Clock } from './clock.ts';
import { PolicyInspection } from './admission/policy-inspection.ts';
import { policiesFor } from './admission/shipped-policies.ts';
import { runBuilds } from './builds/run-builds.ts';
import { Drainer } from './drain/drainer.ts';
import { Rehearsals } from './drain/rehearsals.ts';
import { OperatorError, messageOf } from './errors.ts';
import { Executor } from './execution/executor.ts';
import { cachesOf, createFleet, drainable, hasSynced, rehearsable, takeSnapshot } from './fleet.ts';
import { AlertReader } from './health-checks/alert-reader.ts';
import { CheckReader } from './health-checks/check-reader.ts';
import { CheckedObjects } from './health-checks/checked-objects.ts';
import { serveFleetLock } from './fleet-lock/fleet-lock-endpoint.ts';
import { RebootLocks } from './fleet-lock/reboot-locks.ts';
import { readAlerts } from './health-checks/prometheus.ts';
import { serveHealth } from './health-endpoints.ts';
import { lookUpImage, type ImageLookupOptions } from './image-resolution/image-lookup.ts';
import { ImageResolver } from './image-resolution/image-resolver.ts';
import { API_SERVER_PODS_PATH, API_SERVER_PODS_SELECTOR, trimApiServerPod } from './kube/api-server-pods.ts';
import { PooledConnection, loadKubeConfig, type Connection } from './kube/connection.ts';
import { EventRecorder } from './kube/event-recorder.ts';
import { KubeApi, NODES_PATH, NODE_OSES_PATH, OS_IMAGES_PATH } from './kube/kube-api.ts';
import { LeaderElection } from './kube/leader-election.ts';
import { maintenanceLeaseApi, trimMaintenanceLease } from './kube/maintenance-leases.ts';
import { trimNode, trimNodeOS, trimOSImage } from './kube/objects.ts';
import { SteadyWatch } from './kube/steady-watch.ts';
import { Metrics } from './metrics.ts';
import { LEASE_NAME, type OperatorOptions } from './options.ts';
import { PlanningLoop } from './planning-loop.ts';
import { CredentialsLoop } from './pull-credentials/credentials-loop.ts';
import { PlanMemory } from './rollout/plan-memory.ts';
import { plan } from './rollout/plan.ts';

const USER_AGENT = 'treeline-operator';
const OWN_NODE_POLICY = 'treeline-agent-own-node';
/** A loop that has not turned, or a watch without an answer, for so long is stuck: a restart is the only cure left. */
const STUCK_MS = 15 * 60_000;

/**
 * Runs until `signal` aborts, then finishes the action under way and releases the lease. Throws `OperatorError`
 * `InvalidOptions` when it cannot start; once started it outlives every failure of the API server and of registries.
 */
export async function runOperator(options: OperatorOptions, signal: AbortSignal): Promise<void> {
  const certificateAuthority = await readCertificateAuthority(options.certificateAuthorityFile);
  const connection = new PooledConnection(loadKubeConfig(options.kubeconfig), { userAgent: USER_AGENT });
  try {
    // Mirrors, certificates and proxies, where the container has files or variables for them; credentials come by Secret.
    const machine = { root: '/', environment: process.env, uid: 0 };
    const registry = {
      ...(await readHostConfiguration(machine, { anonymous: true })),
      onWarning: (message: string) => options.logger.warn(message),
      userAgent: USER_AGENT,
      plainHttpHosts: options.plainHttpHosts ?? [],
      ...(certificateAuthority === undefined ? {} : { certificateAuthority }),
    };
    const floor = await signatureFloor(options.signaturePolicyFile);
    const lookups = { resolveTag, verifyImage, registry, ...(floor && { floor }) };
    await runOver(connection, systemClock, lookups, options, signal);
  } finally {
    await connection.close();
  }
}

async function runOver(
  connection: Connection,
  clock: Clock,
  lookups: Omit<ImageLookupOptions, 'namespace' | 'readSecret'>,
  options: OperatorOptions,
  signal: AbortSignal,
): Promise<void> {
  const { logger, identity, namespace } = options;
  const api = new KubeApi(connection, namespace);
  const fleet = createFleet(options.maintenanceLeases);
  const leases =
    options.maintenanceLeases === undefined ? undefined : maintenanceLeaseApi(connection, options.maintenanceLeases);
  const wake = () => loop.wake();
  const wakeAll = () => {
    loop.wake();
    credentials.wake();
  };
  const watching = { connection, clock, logger, onCurrent: wakeAll };
  const watches = [
    new SteadyWatch({ ...watching, path: OS_IMAGES_PATH, cache: fleet.images, trim: trimOSImage }),
    new SteadyWatch({ ...watching, path: NODE_OSES_PATH, cache: fleet.nodeOSes, trim: trimNodeOS }),
    new SteadyWatch({ ...watching, path: NODES_PATH, cache: fleet.nodes, trim: trimNode }),
    new SteadyWatch({
      ...watching,
      path: API_SERVER_PODS_PATH,
      labelSelector: API_SERVER_PODS_SELECTOR,
      cache: fleet.apiServers,
      trim: trimApiServerPod,
    }),
    ...(leases === undefined || fleet.leases === undefined
      ? []
      : [new SteadyWatch({ ...watching, path: leases.path, cache: fleet.leases, trim: trimMaintenanceLease })]),
  ];
  const election =
    options.leaderElection === false
      ? undefined
      : new LeaderElection({
          store: api.leaseStore(LEASE_NAME),
          identity,
          clock,
          logger,
          onElected: () => {
            loop.elected();
            credentials.wake();
          },
        });
  const isLeader = () => election?.isLeader() ?? true;
  const assertLeading = () => {
    if (!isLeader()) throw new OperatorError('LeadershipLost', 'another replica leads, or may by now');
  };
  const policies = new PolicyInspection({
    policies: options.admissionPolicies === false ? [] : policiesFor(options),
    readPolicy: (name, signal) => api.getAdmissionPolicy(name, signal),
    readBinding: (name, signal) => api.getAdmissionPolicyBinding(name, signal),
    onChange: wakeAll,
    clock,
    logger,
  });
  const metrics = new Metrics({ isLeader, watches, policiesInForce: () => policies.inForce });
  const recorder = new EventRecorder({ api, identity, clock, logger });
  const drainer = new Drainer({
    listPods: (node, signal) => api.listPodsOnNode(node, signal),
    evict: (pod, gracePeriodSeconds, signal) => api.evict(pod, gracePeriodSeconds, signal),
    deletePod: (pod, gracePeriodSeconds, signal) => api.deletePod(pod, gracePeriodSeconds, signal),
    volumes: api,
    assertLeading,
    onReport: wake,
    clock,
    logger,
  });
  const rehearsals = new Rehearsals({
    listPods: (node, signal) => api.listPodsOnNode(node, signal),
    tryEvict: (pod, signal) => api.tryEvict(pod, signal),
    onReport: wake,
    clock,
    logger,
  });
  const objects = new CheckedObjects(connection, namespace);
  const checks = new CheckReader({
    read: (object, signal) => objects.read(object, signal),
    onReport: wake,
    clock,
    logger,
  });
  const prometheus = { readSecret: (name: string) => api.getSecret(name) };
  const alerts = new AlertReader({
    read: (policy, signal) => readAlerts(policy, prometheus, signal),
    onReport: wake,
    clock,
    logger,
  });
  const readSecret = async (name: string) => {
    const secret = await api.getSecret(name);
    credentials.saw(name, secret);
    return secret;
  };
  const lookup: ImageLookupOptions = { ...lookups, namespace, readSecret };
  const resolver = new ImageResolver({
    lookUp: (request, signal) => lookUpImage(lookup, request, signal),
    verifiesAll: lookup.floor !== undefined,
    onChange: wake,
    clock,
    logger,
  });
  const onResult = metrics.action.bind(metrics);
  const acting = { api, fleet, drainer, rehearsals, checks, alerts, recorder, assertLeading, onResult, clock, logger };
  const executor = new Executor({ ...acting, ...(leases && { leases }) });
  const memory = new PlanMemory();
  const locks = new RebootLocks({ nodes: fleet.nodes, isLeader, wake, clock });
  const isCurrent = () => isLeader() && watches.every((watch) => watch.isCurrent);
  const loop = new PlanningLoop({
    // Slots hang on the policies: before the first look at them none is given.
    mayPlan: () => isCurrent() && policies.report() !== undefined,
    catchUp: async (signal) => {
      await Promise.all([drainer.stop(), rehearsals.stop(), checks.stop(), alerts.stop()]);
      await Promise.all(watches.map((watch) => watch.refresh(signal)));
    },
    takeSnapshot: () => {
      resolver.follow(fleet.images.values());
      drainer.retain(drainable(fleet));
      rehearsals.retain(rehearsable(fleet));
      const admission = policies.report();
      const snapshot = takeSnapshot(fleet, resolver, drainer, rehearsals, checks, alerts);
      return {
        ...snapshot,
        ...(admission && { admission }),
        ...(options.lifecycleConditions === true && { lifecycle: true }),
        ...(options.fleetLock && { rebootWishes: locks.wishes }),
      };
    },
    plan: (snapshot, now) => plan(snapshot, now, memory),
    execute: (plan, signal) => executor.execute(plan, signal),
    onPlanned: (snapshot, { lockRefusals }, planMs) => {
      metrics.planned(snapshot, planMs);
      if (lockRefusals !== undefined) locks.planned(lockRefusals);
    },
    clock,
    logger,
  });
  const credentials = new CredentialsLoop({
    api,
    images: fleet.images,
    nodeOSes: fleet.nodeOSes,
    namespace,
    // Without that policy, one agent could have the credentials of another's node sealed for its own key.
    mayAct: () =>
      isCurrent() && policies.report()?.deviating.every(({ policy }) => policy !== OWN_NODE_POLICY) === true,
    onUnusable: ({ metadata: { name, uid } }, message) =>
      void recorder.record({ kind: 'OSImage', name, uid }, 'Warning', 'PullSecretUnusable', message),
    clock,
    logger,
  });
  for (const cache of cachesOf(fleet)) cache.onChange(wake);

  await using health =
    options.health === undefined
      ? undefined
      : await serveHealth(options.health.address, options.health.port, {
          ailments: () => [
            ...(loop.ageMs > STUCK_MS ? ['the planning loop is stuck'] : []),
            ...watches
              .filter((watch) => watch.ageMs > STUCK_MS)
              .map((watch) => `no answer to the watch of ${watch.path}`),
          ],
          missing: () =>
            hasSynced(fleet)
              ? []
              : [`the first list of images, nodes${leases ? ' and maintenance leases' : ''} is not complete`],
          metrics: () => metrics.registry.metrics(),
        });
  await using fleetLock =
    options.fleetLock && (await serveFleetLock(options.fleetLock.address, options.fleetLock.port, locks));
  let ready = false;
  const tellReady = () => {
    if (ready || !hasSynced(fleet)) return;
    ready = true;
    logger.info({ nodes: fleet.nodes.size, images: fleet.images.size }, 'caches synced');
    options.onReady?.({
      ...(health && { healthAddress: health.url }),
      ...(fleetLock && { fleetLockAddress: fleetLock.url }),
    });
  };
  for (const cache of cachesOf(fleet)) cache.onChange(tellReady);

  logger.info({ identity, namespace, ...(health && { health: health.url }) }, 'operator started');
  // Watches and election outlive the loop: the action under way needs them to its end.
  const rest = new AbortController();
  const background = [...watches.map((watch) => watch.run(rest.signal)), policies.run(rest.signal)];
  background.push(credentials.run(rest.signal));
  if (election !== undefined) background.push(election.run(rest.signal));
  if (options.builds !== undefined) {
    const { plainHttpHosts = [] } = options;
    const over = { connection, isLeader, plainHttpHosts, recorder, metrics, clock, logger };
    background.push(runBuilds(options.builds, over, rest.signal));
  }
  await loop.run(signal);
  await Promise.all([drainer.stop(), rehearsals.stop(), checks.stop(), alerts.stop(), resolver.stop()]);
  rest.abort();
  await Promise.all(background);
  await election?.release();
  logger.info('operator stopped');
}

/** Reads the cluster's policy, once now so that a mistake in it is seen at the start, and then for every look-up. */
async function signatureFloor(path: string | undefined): Promise<(() => Promise<SignaturePolicyFile>) | undefined> {
  if (path === undefined) return undefined;
  const read = async () => {
    const policy = await readPolicyFile(path);
    if (policy !== undefined) return policy;
    throw new SignatureError(
      'InvalidSignaturePolicy',
      `The signature policy ${path} (--signature-policy) is not there; until it is no image passes.`,
    );
  };
  try {
    await read();
  } catch (error) {
    throw new OperatorError('InvalidOptions', messageOf(error), error);
  }
  return read;
}

async function readCertificateAuthority(path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new OperatorError(
      'InvalidOptions',
      `certificate authority ${path} cannot be read: ${messageOf(error)}`,
      error,
    );
  }
}
