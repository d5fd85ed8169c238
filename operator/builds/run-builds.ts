/** Puts together what carries builds out. Apart from the fleet: a cluster without the CRD, or the rights, still rolls. */
import type { Logger } from 'pino';
import type { OSImageBuild } from '../../api/index.ts';
import type { Clock } from '../clock.ts';
import type { Connection } from '../kube/connection.ts';
import type { EventRecorder } from '../kube/event-recorder.ts';
import { ObjectCache } from '../kube/object-cache.ts';
import { SteadyWatch } from '../kube/steady-watch.ts';
import type { Metrics } from '../metrics.ts';
import type { BuildOptions } from '../options.ts';
import { BuildApi, OS_IMAGE_BUILDS_PATH, trimOSImageBuild } from './build-api.ts';
import { BUILD_LABEL } from './build-job.ts';
import { BuildLoop } from './build-loop.ts';
import { BuildNews } from './build-news.ts';
import { type BuildJob, trimJob } from './build-result.ts';

export interface BuildsOver {
  readonly connection: Connection;
  readonly isLeader: () => boolean;
  readonly plainHttpHosts: readonly string[];
  readonly recorder: EventRecorder;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Until `signal` aborts; never throws. */
export async function runBuilds(options: BuildOptions, over: BuildsOver, signal: AbortSignal): Promise<void> {
  const { connection, clock, logger, isLeader, plainHttpHosts, recorder, metrics } = over;
  const api = new BuildApi(connection, options.namespace);
  const builds = new ObjectCache<OSImageBuild>();
  const jobs = new ObjectCache<BuildJob>();
  const onCurrent = () => loop.wake();
  const watching = { connection, clock, logger, onCurrent };
  const watches = [
    new SteadyWatch({ ...watching, path: OS_IMAGE_BUILDS_PATH, cache: builds, trim: trimOSImageBuild }),
    new SteadyWatch({ ...watching, path: api.jobsPath, labelSelector: BUILD_LABEL, cache: jobs, trim: trimJob }),
  ];
  const loop = new BuildLoop({
    api,
    builds,
    jobs,
    mayAct: () => isLeader() && watches.every((watch) => watch.isCurrent),
    job: { builderImage: options.builderImage, plainHttpHosts },
    namespace: options.namespace,
    news: new BuildNews({ recorder, metrics, logger }),
    clock,
    logger,
  });
  await Promise.all([loop.run(signal), ...watches.map((watch) => watch.run(signal))]);
}
