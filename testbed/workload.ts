/** Something to drain: a Deployment spread over the nodes, the budget that protects it, and a DaemonSet that stays. */
import type { ControlPlane } from './control-plane.ts';

const labels = { app: 'shop' };
const daemonLabels = { app: 'node-logger' };

/** What runs in the pods, where there is somebody to run them. */
export interface WorkloadProgram {
  readonly image: string;
  readonly command?: readonly string[];
}

const NOTHING: WorkloadProgram = { image: 'example.invalid/nothing:runs' };

function template(
  podLabels: Readonly<Record<string, string>>,
  program: WorkloadProgram,
  more: Readonly<Record<string, unknown>> = {},
) {
  const container = { name: 'main', ...program, resources: { requests: { cpu: '10m' } } };
  return {
    metadata: { labels: podLabels },
    spec: { terminationGracePeriodSeconds: 1, containers: [container], ...more },
  };
}

/**
 * Creates the workload in namespace `default` and resolves when all of it is Ready.
 * The budget lets one pod of `replicas` be away at a time, so that the drains of nodes really wait for each other.
 */
export async function createWorkload(
  controlPlane: ControlPlane,
  replicas: number,
  program: WorkloadProgram = NOTHING,
): Promise<void> {
  const spread = [
    {
      maxSkew: 1,
      topologyKey: 'kubernetes.io/hostname',
      whenUnsatisfiable: 'ScheduleAnyway',
      labelSelector: { matchLabels: labels },
    },
  ];
  const objects = [
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'shop' },
      spec: {
        replicas,
        selector: { matchLabels: labels },
        template: template(labels, program, { topologySpreadConstraints: spread }),
      },
    },
    {
      apiVersion: 'policy/v1',
      kind: 'PodDisruptionBudget',
      metadata: { name: 'shop' },
      spec: { maxUnavailable: 1, selector: { matchLabels: labels } },
    },
    {
      apiVersion: 'apps/v1',
      kind: 'DaemonSet',
      metadata: { name: 'node-logger' },
      spec: { selector: { matchLabels: daemonLabels }, template: template(daemonLabels, program) },
    },
  ];
  const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
  await controlPlane.kubectl(['apply', '-f', '-'], { input });
  await controlPlane.kubectl(['rollout', 'status', 'deployment/shop', 'daemonset/node-logger', '--timeout=120s']);
}
