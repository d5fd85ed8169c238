/** What the operator tells Prometheus. Names and labels are an interface: dashboards and alerts stand on them. */
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import type { ActionResult } from './execution/executor.ts';
import type { SteadyWatch } from './kube/steady-watch.ts';
import type { CachedObject } from './kube/object-cache.ts';
import type { Action } from './rollout/action.ts';
import type { Snapshot } from './rollout/snapshot.ts';

export interface MetricSources {
  /** Whether each admission policy that could be looked at is in force. */
  readonly policiesInForce: () => ReadonlyMap<string, boolean>;
  readonly isLeader: () => boolean;
  readonly watches: readonly Pick<SteadyWatch<CachedObject>, 'path' | 'ageMs' | 'restarts'>[];
}

export class Metrics {
  readonly registry = new Registry();
  readonly #actions: Counter<'kind' | 'result'>;
  readonly #planSeconds: Histogram;
  readonly #builds: Counter<'osimagebuild' | 'result'>;
  readonly #buildSeconds: Histogram;
  /** What the last plan was made from. */
  #planned: Pick<Snapshot, 'images' | 'nodeOSes'> = { images: [], nodeOSes: [] };

  constructor(sources: MetricSources) {
    const registers = [this.registry];
    collectDefaultMetrics({ register: this.registry });
    this.#actions = new Counter({
      name: 'treeline_actions_total',
      help: 'Actions that plans asked for, by kind and result (done, failed, stale).',
      labelNames: ['kind', 'result'],
      registers,
    });
    this.#planSeconds = new Histogram({
      name: 'treeline_plan_duration_seconds',
      help: 'How long one plan took to make.',
      buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2],
      registers,
    });
    this.#builds = new Counter({
      name: 'treeline_builds_total',
      help: 'Builds by OSImageBuild and result (Succeeded, Failed; Refused: the API server did not admit the Job).',
      labelNames: ['osimagebuild', 'result'],
      registers,
    });
    this.#buildSeconds = new Histogram({
      name: 'treeline_build_duration_seconds',
      help: 'How long builds took that succeeded, from making the Job to its end.',
      buckets: [30, 60, 120, 300, 600, 1800, 3600],
      registers,
    });
    // These are read when they are scraped.
    const planned = () => this.#planned;
    void new Gauge({
      name: 'treeline_nodes',
      help: 'Nodes by OSImage and rollout phase.',
      labelNames: ['osimage', 'phase'],
      registers,
      collect() {
        this.reset();
        for (const { spec, status } of planned().nodeOSes)
          this.inc({ osimage: spec.imageName, phase: status?.rollout?.phase ?? 'Pending' });
      },
    });
    void new Gauge({
      name: 'treeline_osimage_condition',
      help: '1 while the condition of the OSImage is True, and 0 while it is not.',
      labelNames: ['osimage', 'condition'],
      registers,
      collect() {
        this.reset();
        for (const { object } of planned().images)
          for (const { type, status } of object.status?.conditions ?? [])
            this.set({ osimage: object.metadata.name, condition: type }, status === 'True' ? 1 : 0);
      },
    });
    const byResource = (name: string, help: string, valueOf: (watch: MetricSources['watches'][number]) => number) =>
      new Gauge({
        name,
        help,
        labelNames: ['resource'],
        registers,
        collect() {
          for (const watch of sources.watches) this.set({ resource: resourceOf(watch.path) }, valueOf(watch));
        },
      });
    byResource(
      'treeline_watch_age_seconds',
      'Time since the API server last answered a watch.',
      (watch) => watch.ageMs / 1000,
    );
    byResource('treeline_watch_failures', 'Watches that ended in an error since the start.', (watch) => watch.restarts);
    void new Gauge({
      name: 'treeline_admission_policy_in_force',
      help: '1 while the admission policy is there, bound and refuses what it should; 0 while it is not.',
      labelNames: ['policy'],
      registers,
      collect() {
        this.reset();
        for (const [policy, inForce] of sources.policiesInForce()) this.set({ policy }, inForce ? 1 : 0);
      },
    });
    void new Gauge({
      name: 'treeline_leader',
      help: '1 while this replica leads.',
      registers,
      collect() {
        this.set(sources.isLeader() ? 1 : 0);
      },
    });
  }

  action(kind: Action['kind'], result: ActionResult): void {
    this.#actions.inc({ kind, result });
  }

  /** @param seconds that it took, if that is known */
  build(name: string, result: 'Succeeded' | 'Failed' | 'Refused', seconds: number | undefined): void {
    this.#builds.inc({ osimagebuild: name, result });
    if (result === 'Succeeded' && seconds !== undefined) this.#buildSeconds.observe(seconds);
  }

  planned({ images, nodeOSes }: Pick<Snapshot, 'images' | 'nodeOSes'>, planMs: number): void {
    this.#planSeconds.observe(planMs / 1000);
    this.#planned = { images, nodeOSes };
  }
}

function resourceOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
