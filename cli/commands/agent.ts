/** `treeline agent`: the process that runs on every node. */
import { existsSync } from 'node:fs';
import { DEFAULT_NAMESPACE } from '../../api/index.ts';
import { runAgent } from '../../node-agent/agent.ts';
import { HOST_KINDS, type HostKind } from '../../node-agent/index.ts';
import type { Unpacking } from '../../ostree/index.ts';
import { defineCommand } from '../command.ts';
import { CliError, EXIT } from '../errors.ts';
import { LIMIT_FLAGS, limitOptions } from '../limit-flags.ts';
import { createLogger, LOG_FLAGS } from '../logger.ts';
import { REGISTRY_FLAGS } from '../registry-flags.ts';
import { VERSION } from '../version.ts';

/** Where manifests/base mounts the host's root. */
const HOST_MOUNT = '/host';

export const agent = defineCommand({
  name: 'agent',
  summary: 'Run the agent of one node: rebase orders are carried out.',
  description: [
    "Watches the NodeOS of its node, pulls, imports and stages what it orders, and boots it once an approval says so. Ends with status 0 when told to stop, and with status 3 when the host reboots: on a machine nobody sees that; with --host sandbox, start the agent again, as the machine's boot would.",
  ],
  args: {},
  flags: {
    'node-name': { type: 'string', value: 'NAME', description: 'The node, and its NodeOS. Default: $NODE_NAME.' },
    kubeconfig: {
      type: 'string',
      value: 'FILE',
      description: "Where the API is. Default: $KUBECONFIG, then the pod's service account.",
    },
    namespace: {
      type: 'string',
      value: 'NAME',
      description: `Where the pull Secrets are. Default: $POD_NAMESPACE, then ${DEFAULT_NAMESPACE}.`,
    },
    host: {
      type: 'string',
      value: 'KIND',
      default: 'ostree-admin',
      description:
        'What deploys on the host: its `ostree admin`, or `bootc` or `rpm-ostree` where one of these owns it; `sandbox` for an unbooted sysroot that plays a host.',
    },
    sysroot: {
      type: 'string',
      value: 'DIR',
      description: `The host's root. Default: ${HOST_MOUNT} in a pod that mounts it, else /.`,
    },
    'run-directory': {
      type: 'string',
      value: 'DIR',
      description: 'Sandbox only: what plays /run; removing it is a power cut. Default: run/treeline in the sysroot.',
    },
    'signature-policy': {
      type: 'string',
      value: 'FILE',
      description:
        "The host's own signature policy, which every image must satisfy whatever is ordered (docs/tasks/verify-images.md). Default: /etc/treeline/signature-policy.yaml below the host's root, if it is there.",
    },
    'certificate-authority': REGISTRY_FLAGS['certificate-authority'],
    'plain-http': REGISTRY_FLAGS['plain-http'],
    unpack: {
      type: 'string',
      value: 'WHERE',
      default: 'confined',
      description:
        '`confined`: layers are decompressed and their tar streams read in processes without privilege and without network (docs/security.md). `in-process`: by the agent itself, for machines on which such processes cannot be started.',
    },
    fetch: {
      type: 'string',
      value: 'WHERE',
      default: 'confined',
      description:
        'The same for talking to registries: `confined`, by a process without privilege that has the network and nothing else, or `in-process`.',
    },
    ...LIMIT_FLAGS,
    ...LOG_FLAGS,
  },
  examples: [
    'treeline agent --node-name worker-1',
    'treeline agent --node-name worker-1 --kubeconfig agent.kubeconfig --host sandbox --sysroot sysroots/worker-1',
  ],
  run: async ({ flags, signal, environment }) => {
    const nodeName = flags['node-name'] ?? environment['NODE_NAME'];
    if (nodeName === undefined || nodeName === '') {
      throw new CliError('Usage', 'The node has no name; give --node-name or set NODE_NAME.');
    }
    const limits = limitOptions(flags);
    const kubeconfig = flags.kubeconfig ?? environment['KUBECONFIG'];
    const exit = await runAgent(
      {
        nodeName,
        namespace: flags.namespace ?? environment['POD_NAMESPACE'] ?? DEFAULT_NAMESPACE,
        ...(kubeconfig === undefined || kubeconfig === '' ? {} : { kubeconfig }),
        host: hostKind(flags.host),
        sysroot: flags.sysroot ?? defaultSysroot(environment),
        ...(flags['run-directory'] === undefined ? {} : { runDirectory: flags['run-directory'] }),
        plainHttpHosts: flags['plain-http'],
        ...(flags['certificate-authority'] === undefined
          ? {}
          : { certificateAuthorityFile: flags['certificate-authority'] }),
        ...(flags['signature-policy'] === undefined ? {} : { signaturePolicyFile: flags['signature-policy'] }),
        unpack: placement('unpack', flags.unpack),
        fetch: placement('fetch', flags.fetch),
        limits: limits.pull,
        ...(limits.ioPriority === undefined ? {} : { ioPriority: limits.ioPriority }),
        agentVersion: VERSION,
        log: createLogger(flags['log-level']),
      },
      signal,
    );
    return exit === 'Rebooting' ? EXIT.rebooting : EXIT.ok;
  },
});

function placement(flag: string, text: string): Unpacking {
  if (text === 'confined' || text === 'in-process') return text;
  throw new CliError('Usage', `--${flag} takes confined or in-process, not ${text}.`);
}

function hostKind(text: string): HostKind {
  const kind = HOST_KINDS.find((one) => one === text);
  if (kind === undefined) throw new CliError('Usage', `--host takes ${HOST_KINDS.join(', ')}, not ${text}.`);
  return kind;
}

function defaultSysroot(environment: NodeJS.ProcessEnv): string {
  const inPod = environment['KUBERNETES_SERVICE_HOST'] !== undefined;
  return inPod && existsSync(`${HOST_MOUNT}/ostree`) ? HOST_MOUNT : '/';
}
