//! The program `cutwater`.

cutwater::main!(cutwater::registry());
