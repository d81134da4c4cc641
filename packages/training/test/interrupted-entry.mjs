// One run of a test, in its own process: prints an event a line.
import { train } from '@moestack/training';

const { config, directory, module } = JSON.parse(process.argv[2]);
await train(config, {
  directory,
  sourceSpec: { module, options: config },
  onEvent: (event) => process.stdout.write(`${JSON.stringify(event)}\n`),
});
