/** Pulls one image in a process of its own, to be killed by a test: REPOSITORY LAYOUT [UNPACK]. Says `pulling` when it starts. */
import { pull } from './import-fixture.ts';

const [repository = '', layout = '', unpack] = process.argv.slice(2);
process.stdout.write('pulling\n');
await pull(repository, layout, unpack === 'confined' ? { unpack } : {});
