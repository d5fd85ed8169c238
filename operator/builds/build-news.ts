/** What becomes of builds, told as events of the OSImageBuild, as metrics and in the log. */
import type { Logger } from 'pino';
import type { OSImageBuild } from '../../api/index.ts';
import type { EventRecorder } from '../kube/event-recorder.ts';
import type { Metrics } from '../metrics.ts';
import type { BuildResult } from './build-result.ts';

export interface BuildNewsOptions {
  readonly recorder: Pick<EventRecorder, 'record'>;
  readonly metrics: Pick<Metrics, 'build'>;
  readonly logger: Logger;
}

/** Nothing here rejects. */
export class BuildNews {
  readonly #options: BuildNewsOptions;

  constructor(options: BuildNewsOptions) {
    this.#options = options;
  }

  async begun(build: OSImageBuild, job: string): Promise<void> {
    this.#options.logger.info({ build: build.metadata.name, job }, 'build begun');
    await this.#record(build, 'Normal', 'BuildStarted', `The Job ${job} makes ${build.spec.destination}`);
  }

  async refused(build: OSImageBuild, job: string, message: string): Promise<void> {
    const { metrics, logger } = this.#options;
    logger.warn({ build: build.metadata.name, job, error: message }, 'the Job of a build is not admitted');
    metrics.build(build.metadata.name, 'Refused', undefined);
    await this.#record(build, 'Warning', 'JobRefused', `The Job ${job} is not admitted: ${message}`);
  }

  /** @param build with its end in the history */
  async ended(build: OSImageBuild, job: string, result: BuildResult): Promise<void> {
    const { metrics, logger } = this.#options;
    logger.info({ build: build.metadata.name, job, ...result }, 'build ended');
    const record = build.status?.history?.find((one) => one.job === job);
    const seconds = (Date.parse(record?.completionTime ?? '') - Date.parse(record?.startTime ?? '')) / 1000;
    metrics.build(build.metadata.name, result.kind, Number.isNaN(seconds) ? undefined : seconds);
    if (result.kind === 'Succeeded') {
      await this.#record(
        build,
        'Normal',
        'BuildSucceeded',
        `The Job ${job} made ${build.status?.image ?? result.digest}`,
      );
    } else {
      await this.#record(build, 'Warning', result.reason, `The Job ${job} failed: ${result.message}`);
    }
  }

  async #record(build: OSImageBuild, type: 'Normal' | 'Warning', reason: string, message: string): Promise<void> {
    const { name, uid } = build.metadata;
    await this.#options.recorder.record({ kind: 'OSImageBuild', name, uid }, type, reason, message);
  }
}
