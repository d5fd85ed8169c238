import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { pino } from 'pino';
import { type OSImageBuild, type OSImageBuildSpec, type OSImageBuildStatus } from '../../../api/index.ts';
import { inputsOf } from '../../../operator/builds/build-inputs.ts';
import { jobNameOf, jobOf } from '../../../operator/builds/build-job.ts';
import { BuildNews } from '../../../operator/builds/build-news.ts';
import { type BuildJob, type BuildResult, resultOf, trimJob } from '../../../operator/builds/build-result.ts';
import { MAX_ATTEMPTS, nextStep } from '../../../operator/builds/next-step.ts';
import { Metrics } from '../../../operator/metrics.ts';

const START = Date.parse('2026-11-23T12:00:00Z');
const DIGEST = `sha256:${'a'.repeat(64)}`;
const OPTIONS = { builderImage: 'registry.example.com/builder@sha256:1', plainHttpHosts: [] };

function buildOf(spec: Partial<OSImageBuildSpec> = {}, status?: OSImageBuildStatus): OSImageBuild {
  return {
    metadata: { name: 'workers', uid: 'u', resourceVersion: '1', generation: 3 },
    spec: {
      base: 'registry.example.com/os/debian:12',
      destination: 'registry.example.com:5000/os/workers:stable',
      suspend: false,
      timeoutSeconds: 3600,
      historyLimit: 3,
      ...spec,
    },
    ...(status !== undefined && { status }),
  };
}

function endedJob(name: string, succeeded = true): BuildJob {
  const ended = { succeeded, reason: succeeded ? 'Complete' : 'BackoffLimitExceeded', message: '' };
  return { metadata: { name, uid: 'j', resourceVersion: '1' }, ended };
}

const at = (seconds: number): Date => new Date(START + seconds * 1000);
const condition = (status: OSImageBuildStatus | undefined, type: string): string | undefined =>
  status?.conditions?.find((one) => one.type === type)?.status;

/** From nothing through the first Job's end with `result`. */
function once(build: OSImageBuild, result: BuildResult, now = at(600)): OSImageBuildStatus {
  const begun = nextStep(build, undefined, undefined, at(0));
  const job = endedJob(begun.status.job ?? '', result.kind === 'Succeeded');
  return nextStep({ ...build, status: begun.status }, job, result, now).status;
}

describe('a build', () => {
  it('is begun once, with its Job in the status before there is one', () => {
    const build = buildOf();
    const { status, job } = nextStep(build, undefined, undefined, at(0));
    assert.equal(status.phase, 'Running');
    assert.equal(status.job, job?.job);
    assert.equal(status.history?.[0]?.result, undefined);
    assert.equal(condition(status, 'Reconciling'), 'True');
    // Killed before the Job was made: the same one is made.
    const again = nextStep({ ...build, status }, undefined, undefined, at(60));
    assert.equal(again.job?.job, job?.job);
    assert.deepEqual(again.status, status);
  });

  it('is Ready with the digest that its pod named, and is not begun again while nothing changes', () => {
    const build = buildOf();
    const status = once(build, { kind: 'Succeeded', digest: DIGEST });
    assert.equal(status.phase, 'Succeeded');
    assert.equal(status.image, `registry.example.com:5000/os/workers@${DIGEST}`);
    assert.equal(condition(status, 'Ready'), 'True');
    const later = nextStep({ ...build, status }, undefined, undefined, at(1_000_000));
    assert.equal(later.job, undefined);
    assert.deepEqual(later.status, status);
  });

  it('is begun anew when what it is made of changes, and when the interval is over, but not while it is suspended', () => {
    const build = buildOf();
    const status = once(build, { kind: 'Succeeded', digest: DIGEST });
    const changed = nextStep(buildOf({ version: '2' }, status), undefined, undefined, at(700));
    assert.equal(changed.status.phase, 'Running');
    assert.equal(changed.status.digest, DIGEST);
    const suspended = nextStep(buildOf({ version: '2', suspend: true }, status), undefined, undefined, at(700));
    assert.deepEqual([suspended.status.phase, suspended.job], ['Suspended', undefined]);
    const interval = buildOf({ rebuildIntervalSeconds: 3600 }, status);
    assert.equal(nextStep(interval, undefined, undefined, at(3599)).againMs, 1000);
    assert.equal(nextStep(interval, undefined, undefined, at(3600)).status.phase, 'Running');
    const other = buildOf({ pushSecretRef: { name: 'other' }, timeoutSeconds: 60, previous: 'a/b:1' }, status);
    assert.equal(nextStep(other, undefined, undefined, at(700)).status.phase, 'Succeeded');
  });

  it('is tried again ever later, six times, and then waits for somebody to change it', () => {
    const failure: BuildResult = { kind: 'Failed', reason: 'BuildFailed', message: 'no such package' };
    let build = buildOf();
    let now = 0;
    const waits: number[] = [];
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
      const begun = nextStep(build, undefined, undefined, at(now));
      assert.equal(begun.status.phase, 'Running', `attempt ${attempt}`);
      build = { ...build, status: begun.status };
      build = { ...build, status: nextStep(build, endedJob(begun.status.job ?? '', false), failure, at(now)).status };
      const waiting = nextStep(build, undefined, undefined, at(now));
      waits.push((waiting.againMs ?? 0) / 1000);
      now += (waiting.againMs ?? 0) / 1000;
    }
    assert.deepEqual(waits, [60, 120, 240, 480, 960, 0]);
    assert.equal(build.status?.phase, 'Failed');
    assert.equal(condition(build.status, 'Stalled'), 'True');
    assert.match(build.status?.conditions?.find(({ type }) => type === 'Ready')?.message ?? '', /no such package/);
    assert.equal(build.status?.history?.length, 3);
    assert.equal(
      nextStep({ ...build, spec: buildOf({ version: '2' }).spec }, undefined, undefined, at(now)).status.phase,
      'Running',
    );
  });

  it('lets what runs come to its end, whatever changes meanwhile', () => {
    const { status } = nextStep(buildOf(), undefined, undefined, at(0));
    const changed = buildOf({ version: '2', suspend: true }, status);
    const running: BuildJob = { metadata: { name: status.job ?? '', uid: 'j', resourceVersion: '1' } };
    assert.deepEqual(nextStep(changed, running, undefined, at(9)).job, undefined);
    assert.equal(nextStep(changed, running, undefined, at(9)).status.phase, 'Running');
  });

  it('never has two Jobs at once, and its status settles, whatever comes in whatever order', () => {
    const event = fc.record({
      seconds: fc.integer({ min: 0, max: 8000 }),
      version: fc.option(fc.constantFrom('1', '2'), { nil: undefined }),
      suspend: fc.boolean(),
      ends: fc.constantFrom('no', 'well', 'badly'),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), (events) => {
        let now = 0;
        let build = buildOf({ rebuildIntervalSeconds: 7200 });
        const running = new Set<string>();
        for (const { seconds, version, suspend, ends } of events) {
          now += seconds;
          build = buildOf({ rebuildIntervalSeconds: 7200, suspend, ...(version && { version }) }, build.status);
          const [name] = running;
          const job: BuildJob | undefined =
            name === undefined
              ? undefined
              : ends === 'no'
                ? { metadata: { name, uid: 'j', resourceVersion: '1' } }
                : endedJob(name, ends === 'well');
          const result: BuildResult =
            ends === 'well'
              ? { kind: 'Succeeded', digest: DIGEST }
              : { kind: 'Failed', reason: 'BuildFailed', message: 'it broke' };
          if (job?.ended !== undefined) running.delete(job.metadata.name);
          const step = nextStep(build, job, job?.ended && result, at(now));
          if (step.job !== undefined) running.add(step.job.job);
          assert.ok(running.size <= 1);
          build = { ...build, status: step.status };
          const [current] = running;
          const present =
            current === undefined ? undefined : { metadata: { name: current, uid: 'j', resourceVersion: '1' } };
          assert.deepEqual(nextStep(build, present, undefined, at(now)).status, step.status);
        }
      }),
    );
  });

  it('says in its status that its Job is not admitted, until it is', () => {
    const build = buildOf();
    const begun = nextStep(build, undefined, undefined, at(0));
    const waiting = { ...build, status: begun.status };
    const refused = nextStep(waiting, undefined, undefined, at(9), 'exceeded quota: builds');
    assert.equal(refused.status.phase, 'Pending');
    const ready = refused.status.conditions?.find(({ type }) => type === 'Ready');
    assert.equal(ready?.reason, 'JobRefused');
    assert.match(ready?.message ?? '', /exceeded quota: builds/);
    assert.equal(refused.job?.job, begun.job?.job, 'the same Job is tried again');
    const admitted: BuildJob = { metadata: { name: begun.job?.job ?? '', uid: 'j', resourceVersion: '1' } };
    const running = nextStep(
      { ...build, status: refused.status },
      admitted,
      undefined,
      at(40),
      'exceeded quota: builds',
    );
    assert.equal(running.status.phase, 'Running');
  });

  it('tells of its begin, refusal and end in events and metrics', async () => {
    const told: string[] = [];
    const metrics = new Metrics({ isLeader: () => true, watches: [], policiesInForce: () => new Map() });
    const news = new BuildNews({
      recorder: {
        record: async ({ kind, name }, type, reason, message) => {
          told.push(await Promise.resolve(`${kind}/${name} ${type} ${reason}: ${message}`));
        },
      },
      metrics,
      logger: pino({ enabled: false }),
    });
    const status = once(buildOf(), { kind: 'Succeeded', digest: DIGEST }, at(90));
    const build = buildOf({}, status);
    const job = status.job ?? '';
    await news.begun(build, job);
    await news.refused(build, job, 'exceeded quota');
    await news.ended(build, job, { kind: 'Succeeded', digest: DIGEST });
    await news.ended(build, job, { kind: 'Failed', reason: 'NoKernel', message: 'no kernel' });
    assert.deepEqual(told, [
      `OSImageBuild/workers Normal BuildStarted: The Job ${job} makes registry.example.com:5000/os/workers:stable`,
      `OSImageBuild/workers Warning JobRefused: The Job ${job} is not admitted: exceeded quota`,
      `OSImageBuild/workers Normal BuildSucceeded: The Job ${job} made registry.example.com:5000/os/workers@${DIGEST}`,
      `OSImageBuild/workers Warning NoKernel: The Job ${job} failed: no kernel`,
    ]);
    const text = await metrics.registry.metrics();
    for (const result of ['Succeeded', 'Failed', 'Refused']) {
      assert.match(text, new RegExp(`treeline_builds_total\\{osimagebuild="workers",result="${result}"\\} 1`));
    }
    assert.match(text, /treeline_build_duration_seconds_sum 90/);
  });

  it('believes a pod only as far as its Job bears it out', () => {
    const ended = (succeeded: boolean, reason = 'x') => ({ succeeded, reason, message: '' });
    const digest = JSON.stringify({ manifestDigest: DIGEST });
    assert.deepEqual(resultOf(ended(true), digest), { kind: 'Succeeded', digest: DIGEST });
    assert.equal(resultOf(ended(false), digest).kind, 'Failed');
    for (const words of [undefined, '', '{', '[]', '{"manifestDigest":"latest"}', 'null']) {
      assert.deepEqual(resultOf(ended(true), words).kind, 'Failed');
    }
    const said = JSON.stringify({ error: { code: 'NoKernel', message: 'no kernel' } });
    assert.deepEqual(resultOf(ended(false), said), { kind: 'Failed', reason: 'NoKernel', message: 'no kernel' });
    assert.match(JSON.stringify(resultOf(ended(false, 'DeadlineExceeded'), undefined)), /timeoutSeconds/);
    assert.equal(
      trimJob({
        metadata: { name: 'a', uid: 'b', resourceVersion: '1' },
        status: { conditions: [{ type: 'Suspended', status: 'True' }] },
      }).ended,
      undefined,
    );
  });

  it('has a Job whose name is a label, and another one for every start', () => {
    for (const name of ['workers', 'a'.repeat(253), 'a.b.c', `${'x'.repeat(60)}.1`, `${'x'.repeat(60)}.2`]) {
      assert.match(jobNameOf(name, at(0)), /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/);
      assert.notEqual(jobNameOf(name, at(0)), jobNameOf(name, at(1)));
    }
    assert.notEqual(jobNameOf('a.b', at(0)), jobNameOf('a-b', at(0)));
  });

  it('gives its pod nothing of the cluster, and of Secrets only what the spec names', () => {
    const spec = {
      containerfile: 'FROM x\n',
      context: { configMapName: 'files' },
      signingKeySecretRef: { name: 'cosign' },
    };
    const build = buildOf(spec);
    const { job } = nextStep(build, undefined, undefined, at(0));
    assert.ok(job !== undefined);
    const text = JSON.stringify(jobOf(build, job, undefined, OPTIONS));
    assert.match(text, /"automountServiceAccountToken":false/);
    assert.match(text, /"--sign-key=\/signing-key\/cosign\.key"/);
    assert.doesNotMatch(text, /hostPath|privileged|dockerconfigjson/);
    assert.match(text, /"treeline\.dev\/containerfile":"FROM x\\n"/);
  });

  it('is made of what decides the result, and of nothing else', () => {
    const { spec } = buildOf();
    const inputs = inputsOf(spec);
    for (const other of [
      { version: '2' },
      { base: 'a/b:1' },
      { containerfile: 'FROM x' },
      { maxLayers: 3 },
      { context: { configMapName: 'x' } },
    ]) {
      assert.notEqual(inputsOf({ ...spec, ...other }), inputs);
    }
    for (const other of [
      { suspend: true },
      { timeoutSeconds: 60 },
      { historyLimit: 1 },
      { previous: 'a/b:1' },
      { pushSecretRef: { name: 'x' } },
    ]) {
      assert.equal(inputsOf({ ...spec, ...other }), inputs);
    }
  });
});
