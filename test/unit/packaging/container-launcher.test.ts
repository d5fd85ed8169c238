/** The script that starts Treeline in its container image: the Dockerfile writes it, and here it is run. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

const DOCKERFILE = join(import.meta.dirname, '..', '..', '..', 'Dockerfile');
const BUNDLE = '/opt/treeline/dist/treeline.mjs';

describe('what starts Treeline in its container image', () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'treeline-launcher-'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('allows no dump of its memory, which may hold credentials, and hands on what it was asked for', () => {
    const written = /printf '([^']+)' >treeline /.exec(readFileSync(DOCKERFILE, 'utf8'))?.[1] ?? '';
    const program = join(folder, 'program.mjs');
    writeFileSync(
      program,
      `import { readFileSync } from 'node:fs';
       const [line] = readFileSync('/proc/self/limits', 'utf8').match(/^Max core file size .*$/m);
       console.log(JSON.stringify([process.argv.slice(2), line.split(/ {2,}/).slice(1, 3)]));`,
    );
    const launcher = join(folder, 'treeline');
    writeFileSync(launcher, execFileSync('printf', [written], { encoding: 'utf8' }).replace(BUNDLE, program));
    chmodSync(launcher, 0o755);
    const environment = { ...process.env, PATH: `${dirname(process.execPath)}:${process.env['PATH'] ?? ''}` };
    // With as much allowed before as this machine lets it have.
    const allowed = 'ulimit -c unlimited 2>/dev/null || ulimit -S -c "$(ulimit -H -c)"; exec "$0" "$@"';
    const argv = ['-c', allowed, launcher, 'agent', 'a b'];
    const said = execFileSync('sh', argv, { encoding: 'utf8', env: environment });
    assert.deepEqual(JSON.parse(said), [
      ['agent', 'a b'],
      ['0', '0'],
    ]);
  });
});
