import { benchActivation } from './activation';
import { benchDashboard } from './dashboard';
import { benchLongInput } from './longInput';
import { type Figure, print } from './report';
import { benchRun, benchStream } from './run';

async function main(): Promise<void> {
  const figures: Figure[] = [
    ...benchActivation(),
    ...(await benchRun()),
    ...(await benchStream()),
    ...(await benchLongInput()),
    ...(await benchDashboard()),
  ];
  print(figures, process.argv.includes('--json'));
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);
