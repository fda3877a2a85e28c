/** Made by the build: imports every test/host/**\/*.test.ts. */
declare module 'host-tests';
