package io.flotilla.compat.spring;

/** Goes over the wire as JSON, by the starter's own converter. */
public record Order(int number, String customer) {}
