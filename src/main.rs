//! The program `cutwater`.

cutwater::main!(cutwater_dataflows::registry());
