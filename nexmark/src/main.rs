//! The program: Cutwater's whole command line, for the queries of NEXMark.

cutwater::main!(cutwater_nexmark::registry());
