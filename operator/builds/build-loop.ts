/** Carries builds out, while this replica leads: each by itself, so that one that fails keeps no other from going on. */
import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import type { BuildRecord, OSImageBuild, OSImageBuildStatus } from '../../api/index.ts';
import type { Clock } from '../clock.ts';
import { isKubeError, messageOf } from '../errors.ts';
import type { ObjectCache } from '../kube/object-cache.ts';
import type { BuildApi } from './build-api.ts';
import { type JobOptions, jobOf } from './build-job.ts';
import type { BuildNews } from './build-news.ts';
import { type BuildJob, type BuildResult, resultOf, trimJob } from './build-result.ts';
import { nextStep } from './next-step.ts';

/** After a failure of the API server, and for whatever a watch might have missed. */
const RETRY_MS = 5000;
const RELOOK_MS = 300_000;
/** A quota is not freed by asking often. */
const REFUSED_MS = 30_000;
const REFUSAL_MAX_CHARS = 2000;

export interface BuildLoopOptions {
  readonly api: BuildApi;
  readonly builds: ObjectCache<OSImageBuild>;
  /** Those in the namespace of builds, by name. */
  readonly jobs: ObjectCache<BuildJob>;
  /** Whether this replica leads, and knows what is in the API. */
  readonly mayAct: () => boolean;
  readonly job: JobOptions;
  readonly namespace: string;
  /** Tells people and Prometheus. */
  readonly news: BuildNews;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class BuildLoop {
  readonly #options: BuildLoopOptions;
  /** By the name of a Job, why the API server did not admit it. Lost with the process, and found out again. */
  readonly #refusals = new Map<string, string>();
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
    const { api, jobs, clock, news } = this.#options;
    if (build.metadata.deletionTimestamp !== undefined) return RELOOK_MS;
    const name = build.status?.job ?? '';
    const job = jobs.get(name);
    let step = nextStep(build, job, undefined, clock.now(), this.#refusals.get(name));
    let result: BuildResult | undefined;
    if (step.ended?.ended !== undefined) {
      result = resultOf(step.ended.ended, await api.lastWords(step.ended.metadata.name));
      step = nextStep(build, job, result, clock.now());
    }
    const written = await this.#write(build, step.status);
    if (result !== undefined) await news.ended(written, name, result);
    if (step.job !== undefined && !(await this.#create(written, step.job))) return REFUSED_MS;
    return step.againMs ?? RELOOK_MS;
  }

  async #write(build: OSImageBuild, { job, ...rest }: OSImageBuildStatus): Promise<OSImageBuild> {
    const { api, builds } = this.#options;
    const status = { ...rest, ...(job !== undefined && { job, logs: this.#logs(job) }) };
    if (isDeepStrictEqual(status, build.status)) return build;
    const written = await api.replaceStatus(build, status);
    builds.observe(written);
    return written;
  }

  /** False: the API server does not admit the Job, which the status then says. */
  async #create(build: OSImageBuild, record: BuildRecord): Promise<boolean> {
    const { api, jobs, job, clock, news } = this.#options;
    try {
      jobs.observe(trimJob(await api.createJob(jobOf(build, record, build.status?.image, job))));
      this.#refusals.delete(record.job);
      await news.begun(build, record.job);
      return true;
    } catch (error) {
      // We made it before we were killed, and the watch has not told yet.
      if (isKubeError(error, 'AlreadyExists')) return true;
      // A quota, an admission policy, or rights that are missing.
      if (!isKubeError(error, 'Forbidden', 'Invalid')) throw error;
      const refusal = error.message.slice(0, REFUSAL_MAX_CHARS);
      if (!this.#refusals.has(record.job)) await news.refused(build, record.job, refusal);
      this.#refusals.set(record.job, refusal);
      await this.#write(build, nextStep(build, undefined, undefined, clock.now(), refusal).status);
      return false;
    }
  }

  #logs(job: string): string {
    return `kubectl logs --namespace ${this.#options.namespace} job/${job}`;
  }
}
