import { benchActivation } from './activation';
import { type Figure, print } from './report';
import { benchRun, benchStream } from './run';

async function main(): Promise<void> {
  const figures: Figure[] = [...benchActivation(), ...(await benchRun()), ...(await benchStream())];
  print(figures, process.argv.includes('--json'));
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);
