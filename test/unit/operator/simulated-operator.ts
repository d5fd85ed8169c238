/** The operator's real caches, planner, executor and drainer over the simulated API, driven turn by turn. */
import { pino } from 'pino';
import { Drainer } from '../../../operator/drain/drainer.ts';
import { Rehearsals } from '../../../operator/drain/rehearsals.ts';
import { OperatorError } from '../../../operator/errors.ts';
import { Executor } from '../../../operator/execution/executor.ts';
import { createFleet, drainable, rehearsable, takeSnapshot, type Fleet } from '../../../operator/fleet.ts';
import { AlertReader } from '../../../operator/health-checks/alert-reader.ts';
import { CheckReader } from '../../../operator/health-checks/check-reader.ts';
import type { Clock } from '../../../operator/clock.ts';
import { EventRecorder } from '../../../operator/kube/event-recorder.ts';
import { KubeApi } from '../../../operator/kube/kube-api.ts';
import { plan } from '../../../operator/rollout/plan.ts';
import type { Plan } from '../../../operator/rollout/action.ts';
import type { World } from '../rollout/world.ts';
import type { SimulatedApi } from './simulated-api.ts';

const logger = pino({ level: 'silent' });
const never = new AbortController().signal;

export class SimulatedOperator {
  readonly #world: World;
  readonly #api: SimulatedApi;
  readonly #fleet: Fleet = createFleet();
  readonly #clock: Clock;
  readonly #drainer: Drainer;
  readonly #rehearsals: Rehearsals;
  readonly #checks: CheckReader;
  readonly #alerts: AlertReader;
  readonly #executor: Executor;

  /** Starts with the lists, and nothing else that it knows. Its clock is `skewMs` ahead of the hosts'. */
  constructor(world: World, simulated: SimulatedApi, skewMs: number) {
    this.#world = world;
    this.#api = simulated;
    const clock: Clock = {
      now: () => new Date(world.time + skewMs),
      monotonicMs: () => world.time,
      random: () => world.random(),
      sleep: async () => undefined,
    };
    this.#clock = clock;
    const api = new KubeApi(simulated, 'treeline-system');
    const assertLeading = () => {
      if (simulated.callsToLive <= 0) throw new OperatorError('LeadershipLost', 'dead');
    };
    const common = { onReport: () => undefined, clock, logger };
    const listPods = async (node: string) => simulated.podsOn(node);
    this.#drainer = new Drainer({
      ...common,
      listPods,
      evict: async (pod) => simulated.evict(pod, false),
      deletePod: async (pod) => simulated.evict(pod, false),
      volumes: api,
      assertLeading,
    });
    this.#rehearsals = new Rehearsals({ ...common, listPods, tryEvict: async (pod) => simulated.evict(pod, true) });
    this.#checks = new CheckReader({ ...common, read: async () => ({ objects: [] }) });
    this.#alerts = new AlertReader({ ...common, read: async () => ({ firing: [] }) });
    this.#executor = new Executor({
      api,
      fleet: this.#fleet,
      drainer: this.#drainer,
      rehearsals: this.#rehearsals,
      checks: this.#checks,
      alerts: this.#alerts,
      recorder: new EventRecorder({ api, identity: 'operator', clock, logger }),
      assertLeading,
      onResult: () => undefined,
      clock,
      logger,
    });
    simulated.list(this.#fleet);
  }

  /** Takes in what the watches tell, plans, and carries the plan out as far as it lives. Returns the plan. */
  async turn(): Promise<Plan> {
    this.#api.deliver(this.#fleet);
    this.#drainer.retain(drainable(this.#fleet));
    this.#rehearsals.retain(rehearsable(this.#fleet));
    const images = {
      resolution: (object: Parameters<World['imageSnapshot']>[0]) => this.#world.imageSnapshot(object).resolution,
      target: (object: Parameters<World['imageSnapshot']>[0]) => this.#world.imageSnapshot(object).target,
    };
    const snapshot = takeSnapshot(this.#fleet, images, this.#drainer, this.#rehearsals, this.#checks, this.#alerts);
    const made = plan(snapshot, this.#clock.now());
    try {
      await this.#executor.execute(made, never);
    } catch (error) {
      if (!(error instanceof OperatorError) || error.code !== 'LeadershipLost') throw error;
    }
    // Evictions go on beside the plan.
    for (let round = 0; round < 3; round++) await new Promise((resolve) => setImmediate(resolve));
    return made;
  }
}
