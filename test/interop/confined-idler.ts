/** A confined process that has lost its way: it does not even heed that nobody feeds it any more. Says `here`. */
process.stdout.write('here\n');
setInterval(() => undefined, 1000);
