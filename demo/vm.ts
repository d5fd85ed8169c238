/**
 * `npm run demo:vm`: one virtual machine that `treeline install` wrote is moved to version 2, and then to a version whose
 * initramfs hangs, from which it comes back by itself. Shows the operator's view, and what the machine says on its console.
 */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import { publishNextVersion } from '../testbed/vm/guest-versions.ts';
import { VmBench } from '../testbed/vm/vm-bench.ts';
import { readFlags } from '../tools/script-flags.ts';
import { ensureAll } from '../tools/setup/index.ts';
import { Display } from './display.ts';
import { Ending, requireRoot, runAsProgram } from './ending.ts';
import { viewFleet } from './fleet-view.ts';
import { Onlooker } from './onlooker.ts';
import { isComplete } from './rollout.ts';

const POLL_MS = 300;
/** Twice what the machine takes to boot under emulation, see docs/tasks/recover-a-node.md. */
const DEADLINE_SECONDS = 90;
const ROLL_BACK = { maxUnavailable: 1, onFailure: 'RollBack' };

const SCRIPT = {
  command: 'npm run demo:vm',
  does: `Boots a virtual machine that treeline install wrote, starts a real Kubernetes API and a registry on loopback, and moves the
machine to version 2 with an OSImage, then to a version whose initramfs hangs: it comes back by itself. Shows what the operator
says, and what the machine does on its console. Takes some ten minutes, without KVM. Stops and removes everything at the end.`,
  flags: {},
} as const;

/** Shows what comes onto a console's log, line by line, until it is stopped. */
async function followConsole(path: string, display: Display, signal: AbortSignal): Promise<void> {
  await using file = await open(path, 'a+');
  let rest = '';
  while (!signal.aborted) {
    const { bytesRead, buffer } = await file.read({ buffer: Buffer.alloc(65_536) });
    const lines = (rest + buffer.toString('latin1', 0, bytesRead)).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const text = stripVTControlCharacters(line)
        .replaceAll(/[^ -~]/g, '')
        .trim();
      if (text !== '') display.say(`    console │ ${text}`);
    }
    await sleep(POLL_MS, undefined, { signal }).catch(() => undefined);
  }
}

async function tellStory(logs: string, display: Display, signal: AbortSignal): Promise<void> {
  const say = (sentence: string) => display.say(sentence);
  await ensureAll(say, ['vm']);
  signal.throwIfAborted();
  await using bench = await VmBench.start({ logs, say });
  signal.throwIfAborted();
  const versionOf = new Map([[bench.installed.manifestDigest, '1']]);
  const publish = async (version: string) => {
    const digest = await publishNextVersion(bench.registry, '1', version);
    versionOf.set(digest, version);
    return digest;
  };
  const view = () => viewFleet(onlooker.objects, versionOf);
  await using onlooker: Onlooker = new Onlooker(bench.controlPlane, 'guests', () => {
    if (onlooker.objects.image !== undefined) display.update(view());
  });
  const stop = new AbortController();
  const following = bench.machines.map(({ name }) =>
    followConsole(join(logs, `${name}.log`), display, AbortSignal.any([signal, stop.signal])),
  );
  const until = async (done: () => boolean) => {
    while (!done()) await sleep(POLL_MS, undefined, { signal });
  };
  try {
    const good = await publish('2');
    say('kubectl apply: version 2');
    await bench.applyImage(bench.spec('2', { rollout: ROLL_BACK }));
    await until(() => isComplete(onlooker.objects, view(), good));

    const bad = await publish('3');
    say('kubectl apply: version 3, whose initramfs hangs. It is booted once, with a deadline.');
    await bench.applyImage(
      bench.spec('3', {
        rollout: ROLL_BACK,
        health: { hostRollback: { deadlineSeconds: DEADLINE_SECONDS } },
        kernelArguments: { append: ['initramfs.hang'] },
      }),
    );
    await until(() => {
      const { quarantinedDigests = [], conditions = [] } = onlooker.objects.image?.status ?? {};
      const quarantined = quarantinedDigests.some(({ digest }) => digest === bad);
      const back = conditions.some(({ type, reason }) => type === 'RollingBack' && reason === 'RolledBack');
      return quarantined && back && view().nodes.every(({ state, booted }) => state === 'Ready' && booted === '2');
    });
    display.end();
    say('The machine is on version 2 again, and version 3 is quarantined.');
    display.quote(await bench.controlPlane.kubectl(['get', 'osimage,nodeos']));
    display.quote(await bench.machine.run('ostree admin status; treeline status; journalctl --list-boots --no-pager'));
  } finally {
    stop.abort();
    await Promise.all(following);
  }
}

await runAsProgram(async () => {
  readFlags(SCRIPT);
  requireRoot();
  const display = new Display(process.stdout);
  const ending = new Ending(display);
  return ending.withLogs((logs) => tellStory(logs, display, ending.signal));
});
