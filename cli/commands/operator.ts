/** `treeline operator`: the controller of the fleet. */
import { hostname } from 'node:os';
import { DEFAULT_NAMESPACE } from '../../api/index.ts';
import { runOperator } from '../../operator/index.ts';
import { defineCommand } from '../command.ts';
import { CliError } from '../errors.ts';
import { createLogger, LOG_FLAGS } from '../logger.ts';
import { REGISTRY_FLAGS } from '../registry-flags.ts';

export const operator = defineCommand({
  name: 'operator',
  summary: 'Run the operator: OSImages become rebase orders.',
  description: [
    'Several replicas may run; one leads. Everything it must remember is in the Kubernetes API, so it can be stopped and started at any time.',
  ],
  args: {},
  flags: {
    kubeconfig: {
      type: 'string',
      value: 'FILE',
      description: "Where the API is. Default: $KUBECONFIG, then the pod's service account.",
    },
    namespace: {
      type: 'string',
      value: 'NAME',
      description: `Where the Lease and the pull Secrets are. Default: $POD_NAMESPACE, then ${DEFAULT_NAMESPACE}.`,
    },
    identity: {
      type: 'string',
      value: 'NAME',
      description: 'Name of this replica in the Lease. Default: $POD_NAME, then the host name.',
    },
    health: {
      type: 'string',
      value: 'ADDRESS',
      default: '0.0.0.0:8081',
      description: 'Where /healthz, /readyz and /metrics are served (address:port), or `off`.',
    },
    'maintenance-leases': {
      type: 'string',
      value: 'NAMESPACE',
      description:
        'Share nodes with others who maintain them, by a Lease per node in this namespace (medik8s-leases for the operators of medik8s). Needs manifests/optional/operator-maintenance-leases.yaml. Default: off.',
    },
    'lifecycle-conditions': {
      type: 'boolean',
      description:
        "Say what happens to a Node in Kubernetes' own conditions (MaintenanceInProgress, DrainInProgress, Drained), and keep off Nodes that others say so of. Needs manifests/optional/operator-lifecycle-conditions.yaml.",
    },
    'fleet-lock': {
      type: 'string',
      value: 'ADDRESS',
      description:
        'Where hosts that somebody else updates may ask to reboot, by the FleetLock protocol of Zincati (address:port). Default: nowhere.',
    },
    builds: {
      type: 'string',
      value: 'NAMESPACE',
      description:
        'Make images as OSImageBuilds say, by Jobs in this namespace. Needs --builder-image and manifests/optional/operator-builds.yaml. Default: off.',
    },
    'builder-image': {
      type: 'string',
      value: 'IMAGE',
      description: 'The image of those Jobs, with treeline and buildah in it; by digest, so that it stays the same.',
    },
    'no-admission-policies': {
      type: 'boolean',
      description:
        'Do not look whether the admission policies of manifests/ are in force (docs/tasks/admission-policies.md). Only where something else keeps what they promise.',
    },
    'no-leader-election': {
      type: 'boolean',
      description: 'Act without a Lease. Only where no second operator can run.',
    },
    'signature-policy': {
      type: 'string',
      value: 'FILE',
      description:
        'YAML file with the policy that the signatures of every image must satisfy, whatever OSImages say (docs/tasks/verify-images.md). It is read anew for every look-up.',
    },
    'certificate-authority': REGISTRY_FLAGS['certificate-authority'],
    'plain-http': REGISTRY_FLAGS['plain-http'],
    ...LOG_FLAGS,
  },
  examples: ['treeline operator', 'treeline operator --kubeconfig operator.kubeconfig --health 127.0.0.1:8081'],
  run: async ({ flags, signal, environment }) => {
    const kubeconfig = flags.kubeconfig ?? environment['KUBECONFIG'];
    const health = parseAddress('health', flags.health);
    const fleetLock = flags['fleet-lock'] === undefined ? undefined : parseAddress('fleet-lock', flags['fleet-lock']);
    const builds = buildOptions(flags.builds, flags['builder-image']);
    const logger = createLogger(flags['log-level']);
    await runOperator(
      {
        ...(kubeconfig === undefined || kubeconfig === '' ? {} : { kubeconfig }),
        namespace: flags.namespace ?? environment['POD_NAMESPACE'] ?? DEFAULT_NAMESPACE,
        identity: flags.identity ?? environment['POD_NAME'] ?? `${hostname()}-${process.pid}`,
        plainHttpHosts: flags['plain-http'],
        ...(flags['certificate-authority'] === undefined
          ? {}
          : { certificateAuthorityFile: flags['certificate-authority'] }),
        ...(flags['signature-policy'] === undefined ? {} : { signaturePolicyFile: flags['signature-policy'] }),
        ...(health === undefined ? {} : { health }),
        ...(flags['maintenance-leases'] === undefined ? {} : { maintenanceLeases: flags['maintenance-leases'] }),
        ...(fleetLock === undefined ? {} : { fleetLock }),
        ...(builds === undefined ? {} : { builds }),
        lifecycleConditions: flags['lifecycle-conditions'],
        admissionPolicies: !flags['no-admission-policies'],
        leaderElection: !flags['no-leader-election'],
        logger,
        onReady: (started) => logger.info(started, 'operator ready'),
      },
      signal,
    );
    return 0;
  },
});

function buildOptions(namespace: string | undefined, builderImage: string | undefined) {
  if (namespace === undefined && builderImage === undefined) return undefined;
  if (namespace !== undefined && builderImage !== undefined) return { namespace, builderImage };
  throw new CliError('Usage', '--builds and --builder-image go together: Jobs need a namespace and an image.');
}

function parseAddress(flag: string, text: string): { address: string; port: number } | undefined {
  if (text === 'off') return undefined;
  const [, address, port] = /^(.+):(\d{1,5})$/.exec(text) ?? [];
  if (address === undefined || Number(port) > 65_535) {
    throw new CliError('Usage', `--${flag} takes address:port or off, not ${text}.`);
  }
  return { address: address.replace(/^\[(.*)\]$/, '$1'), port: Number(port) };
}
