/** Carries builds out, while this replica leads: each by itself, so that one that fails keeps no other from going on. */
import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import type { OSImageBuild } from '../../api/index.ts';
import type { Clock } from '../clock.ts';
import { isKubeError, messageOf } from '../errors.ts';
import type { ObjectCache } from '../kube/object-cache.ts';
import type { BuildApi } from './build-api.ts';
import { type JobOptions, jobOf } from './build-job.ts';
import { type BuildJob, resultOf, trimJob } from './build-result.ts';
import { nextStep } from './next-step.ts';

/** After a failure of the API server, and for whatever a watch might have missed. */
const RETRY_MS = 5000;
const RELOOK_MS = 300_000;

export interface BuildLoopOptions {
  readonly api: BuildApi;
  readonly builds: ObjectCache<OSImageBuild>;
  /** Those in the namespace of builds, by name. */
  readonly jobs: ObjectCache<BuildJob>;
  /** Whether this replica leads, and knows what is in the API. */
  readonly mayAct: () => boolean;
  readonly job: JobOptions;
  readonly namespace: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class BuildLoop {
  readonly #options: BuildLoopOptions;
  #wake = new AbortController();

  constructor(options: BuildLoopOptions) {
    this.#options = options;
    options.builds.onChange(() => this.wake());
    options.jobs.onChange(() => this.wake());
  }

  /** Has it look soon. */
  wake(): void {
    this.#wake.abort();
  }

  /** Until `signal` aborts; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    const { builds, jobs, mayAct, clock } = this.#options;
    while (!signal.aborted) {
      this.#wake = new AbortController();
      let waitMs = RELOOK_MS;
      if (mayAct() && builds.hasSynced && jobs.hasSynced) {
        for (const build of builds.values()) waitMs = Math.min(waitMs, await this.#attend(build));
      } else {
        waitMs = RETRY_MS;
      }
      await clock.sleep(waitMs, AbortSignal.any([signal, this.#wake.signal]));
    }
  }

  /** Returns in how many milliseconds to look again. */
  async #attend(build: OSImageBuild): Promise<number> {
    const { logger } = this.#options;
    try {
      return await this.#reconcile(build);
    } catch (error) {
      // Somebody wrote meanwhile: the watch brings it.
      if (!isKubeError(error, 'Conflict') && !isKubeError(error, 'NotFound')) {
        logger.warn(
          { build: build.metadata.name, error: messageOf(error) },
          'a build could not be carried on, trying again',
        );
      }
      return RETRY_MS;
    }
  }

  async #reconcile(build: OSImageBuild): Promise<number> {
    const { api, builds, jobs, clock, logger } = this.#options;
    if (build.metadata.deletionTimestamp !== undefined) return RELOOK_MS;
    const name = build.status?.job;
    const job = name === undefined ? undefined : jobs.get(name);
    let step = nextStep(build, job, undefined, clock.now());
    if (step.ended?.ended !== undefined) {
      const result = resultOf(step.ended.ended, await api.lastWords(step.ended.metadata.name));
      logger.info({ build: build.metadata.name, job: name, ...result }, 'build ended');
      step = nextStep(build, job, result, clock.now());
    }
    const status = { ...step.status, ...(step.status.job !== undefined && { logs: this.#logs(step.status.job) }) };
    let written = build;
    if (!isDeepStrictEqual(status, build.status)) {
      written = await api.replaceStatus(build, status);
      builds.observe(written);
    }
    if (step.job !== undefined) await this.#create(written, step.job);
    return step.againMs ?? RELOOK_MS;
  }

  async #create(build: OSImageBuild, record: NonNullable<ReturnType<typeof nextStep>['job']>): Promise<void> {
    const { api, jobs, job, logger } = this.#options;
    try {
      jobs.observe(trimJob(await api.createJob(jobOf(build, record, build.status?.image, job))));
      logger.info({ build: build.metadata.name, job: record.job }, 'build begun');
    } catch (error) {
      // We made it before we were killed, and the watch has not told yet.
      if (!isKubeError(error, 'AlreadyExists')) throw error;
    }
  }

  #logs(job: string): string {
    return `kubectl logs --namespace ${this.#options.namespace} job/${job}`;
  }
}
