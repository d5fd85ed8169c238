/** Scripts carry over: every flag of the peer's commands is one of ours, under the names that docs/reference/cli.md gives. */
import assert from 'node:assert/strict';
import { ensurePeer } from '../../tools/setup/index.ts';
import { treeline } from '../unit/cli/run.ts';
import { run } from './import-fixture.ts';

/** The peer's name, then ours. */
const COMMANDS: readonly (readonly [string, string])[] = [
  ['encapsulate', 'encapsulate'],
  ['unencapsulate', 'unencapsulate'],
  ['info', 'image info'],
  ['compare', 'image compare'],
  ...[
    'list',
    'pull',
    'history',
    'metadata',
    'copy',
    'reexport',
    'replace-detached-metadata',
    'remove',
    'prune-layers',
    'prune-images',
    'deploy',
  ].map((name) => [`image ${name}`, `image ${name}`] as const),
];

/** All commands of a group, as clap lists them. */
async function commandsOf(...group: readonly string[]): Promise<readonly string[]> {
  const help = await run(await ensurePeer(() => {}), 'container', ...group, '--help');
  const [, list = ''] = /^Commands:\n([^]*?)\n\n/m.exec(help) ?? [];
  return [...list.matchAll(/^ {2}([a-z-]+)/gm)].map(([, name]) => [...group, name].join(' '));
}

const flagsIn = (help: string) => new Set([...help.matchAll(/^ +(?:-\w, )?(--[a-z-]+)/gm)].map(([, name]) => name));

describe('the commands of ostree container', () => {
  it('each have one here, but the one that is not needed', async () => {
    const all = [...(await commandsOf()), ...(await commandsOf('image'))];
    const others = all.filter((name) => !COMMANDS.some(([theirs]) => theirs === name));
    assert.deepEqual(others, ['commit', 'image', 'help', 'image help']);
  });

  for (const [theirs, ours] of COMMANDS) {
    it(`lose no flag: ${theirs}`, async () => {
      const wanted = flagsIn(await run(await ensurePeer(() => {}), 'container', ...theirs.split(' '), '--help'));
      const { stdout } = await treeline([...ours.split(' '), '--help']);
      assert.ok(wanted.size > 0);
      assert.deepEqual([...wanted.difference(flagsIn(stdout))], []);
    });
  }
});
