import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { CATALOGUE } from '../../../cli/catalogue.ts';
import { CLI_PAGE, withCommands } from '../../../tools/cli-reference.ts';
import { treeline } from './run.ts';

describe('the command line', () => {
  it('lists every command with --help, -h, help, or nothing at all', async () => {
    for (const argv of [['--help'], ['-h'], ['help'], []]) {
      const { status, stdout, stderr } = await treeline(argv);
      assert.equal(status, 0);
      assert.equal(stderr, '');
      for (const { name, summary } of CATALOGUE) assert.ok(stdout.includes(name) && stdout.includes(summary), name);
    }
  });

  it('lists the commands of a group', async () => {
    const { status, stdout } = await treeline(['image', '--help']);
    assert.equal(status, 0);
    assert.ok(stdout.includes('image pull') && !stdout.includes('rebase'));
  });

  it('explains every command with --help, with an example that starts with its name', async () => {
    for (const { name } of CATALOGUE) {
      const { status, stdout } = await treeline([...name.split(' '), '--help']);
      assert.equal(status, 0);
      assert.ok(stdout.startsWith(`Usage: treeline ${name} `), stdout);
      assert.ok(stdout.includes(`  treeline ${name}`));
    }
  });

  it('says the same of a command in every list', async () => {
    for (const { name, summary, load } of CATALOGUE) {
      const command = await load();
      assert.deepEqual([command.name, command.summary], [name, summary]);
    }
  });

  it('has a reference page that shows the help of every command as it is (else: npm run generate)', async () => {
    const page = await readFile(new URL(`../../../${CLI_PAGE}`, import.meta.url), 'utf8');
    assert.equal(page, await withCommands(page));
  });

  it('tells its version, for people and for programs', async () => {
    assert.match((await treeline(['--version'])).stdout, /^treeline \d+\.\d+\.\d+\n$/);
    const { stdout } = await treeline(['--version', '--output', 'json']);
    assert.match((JSON.parse(stdout) as { version: string }).version, /^\d+\.\d+\.\d+$/);
  });

  const mistakes: readonly (readonly [string[], RegExp])[] = [
    [['frobnicate'], /^treeline: There is no command frobnicate; `treeline --help` lists them\.\n$/],
    [['image', 'frobnicate'], /no command image frobnicate; `treeline image --help`/],
    [['image', 'pull', 'a'], /--repo DIR is missing; `treeline image pull --help`/],
    [['image', 'pull', '--repo', 'r'], /REF is missing/],
    [['image', 'pull', '--repo', 'r', 'a', 'b'], /b is one argument too many/],
    [['image', 'pull', '--repo', 'r', '--frob', 'a'], /Unknown option '--frob'; `treeline image pull --help`/],
    [['kargs', '--append', 'two words'], /"two words" is not one kernel argument: NAME or NAME=VALUE\./],
    [['kargs', '--delete', 'ostree=/x'], /ostree= is set for each deployment by libostree itself\./],
    [['kargs', '--append', 'a', '--delete', 'a'], /a is to be both added and taken away\./],
    [['pin'], /DEPLOYMENT is missing/],
    [['image', 'deploy'], /Give the image either as --imgref REF or as --image NAME\./],
    [['image', 'deploy', '--imgref', 'a/b:c', '--image', 'a/b:c'], /either as --imgref REF or as --image NAME/],
    [
      ['image', 'deploy', '--imgref', 'a.b/c', '--ostree-remote', 'r'],
      /--ostree-remote go with --image; --imgref says it/,
    ],
    [
      ['image', 'deploy', '--imgref', 'a.b/c', '--enforce-container-sigpolicy'],
      /go with --image; --imgref says it itself/,
    ],
    [
      ['image', 'deploy', '--image', 'a', '--enforce-container-sigpolicy', '--no-signature-verification'],
      /--no-signature-verification contradicts --enforce-container-sigpolicy; leave one out/,
    ],
    [
      ['image', 'deploy', '--image', 'a', '--ostree-remote', 'r', '--no-signature-verification'],
      /--no-signature-verification contradicts --ostree-remote; leave one out/,
    ],
    [
      ['image', 'deploy', '--imgref', 'a.b/c', '--karg', 'ostree=/x'],
      /ostree= is set for each deployment by libostree/,
    ],
    [['rebase', '--output', 'yaml', 'x'], /--output takes text or json, not yaml/],
    [['encapsulate', '--repo', 'r', '--label', 'novalue', 'a', 'oci:b'], /--label takes KEY=VALUE, not novalue/],
    [
      ['encapsulate', '--repo', 'r', '--chunking', 'some', 'a', 'oci:b'],
      /--chunking takes default, baseline or none, not some/,
    ],
    [
      ['encapsulate', '--repo', 'r', '--max-layers', '0', 'a', 'oci:b'],
      /--max-layers takes a whole number from 1 on, not 0/,
    ],
    [['encapsulate', '--repo', 'r', '--max-layers', '1e2', 'a', 'oci:b'], /--max-layers takes a whole .*, not 1e2/],
    [
      ['encapsulate', '--repo', 'r', '--chunking', 'baseline', '--max-layers', '3', 'a', 'oci:b'],
      /--max-layers takes a whole number from 4 on, not 3/,
    ],
    [
      ['encapsulate', '--repo', 'r', '--chunking', 'none', '--previous', 'i', 'a', 'oci:b'],
      /--chunking none makes a single layer; leave out --previous/,
    ],
    [
      ['encapsulate', '--repo', 'r', '--contentmeta', 'f', '--max-layers', '9', 'a', 'oci:b'],
      /--contentmeta says itself what the layers are; leave out --max-layers/,
    ],
    [
      ['image', 'pull', '--repo', 'r', '--max-bytes-per-second', '0', 'a'],
      /--max-bytes-per-second takes a number of bytes above 0 such as 500K, 20M or 1\.5G, not 0/,
    ],
    [['rebase', '--max-bytes-per-second=-5', 'a'], /--max-bytes-per-second takes a number of bytes above 0.*, not -5/],
    [['upgrade', '--max-bytes-per-second', '10MiB'], /--max-bytes-per-second takes a number of bytes .*, not 10MiB/],
    [
      ['rebase', '--max-concurrent-fetches', '0', 'a'],
      /--max-concurrent-fetches takes a whole number from 1 on, not 0/,
    ],
    [['upgrade', '--max-concurrent-fetches', 'many'], /--max-concurrent-fetches takes a whole number.*, not many/],
    [
      ['agent', '--node-name', 'n', '--io-priority', 'realtime'],
      /--io-priority takes idle or best-effort, not realtime/,
    ],
    [['agent'], /The node has no name; give --node-name or set NODE_NAME/],
    [
      ['agent', '--node-name', 'n', '--host', 'moon'],
      /--host takes ostree-admin, bootc, rpm-ostree, sandbox, not moon/,
    ],
    [['operator', '--health', 'nowhere'], /--health takes address:port or off, not nowhere/],
    [['operator', '--log-level', 'loud'], /--log-level takes error, warn, info or debug, not loud/],
  ];
  for (const [argv, expected] of mistakes) {
    it(`answers \`treeline ${argv.join(' ')}\` with status 2 and one sentence`, async () => {
      const { status, stdout, stderr } = await treeline(argv);
      assert.deepEqual([status, stdout], [2, '']);
      assert.match(stderr, expected);
      assert.equal(stderr.split('\n').length, 2, 'one line');
    });
  }

  it('gives errors as JSON when results are wanted as JSON', async () => {
    for (const form of [['--output', 'json'], ['--output=json'], ['-o', 'json']]) {
      const { status, stdout, stderr } = await treeline(['rebase', ...form]);
      assert.deepEqual([status, stdout], [2, '']);
      const { error } = JSON.parse(stderr) as { error: { code: string; message: string } };
      assert.equal(error.code, 'Usage');
      assert.match(error.message, /^REF is missing/);
    }
  });
});
