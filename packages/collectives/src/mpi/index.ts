export { connectMpi, type MpiOptions } from './connect-mpi.js';
