package qupath.lib.plugins.parameters

class ParameterList {
    final Map<String, Object> values = [:]
    ParameterList addTitleParameter(String prompt) { this }
    ParameterList addEmptyParameter(String prompt) { this }
    ParameterList addStringParameter(String key, String prompt, String value, String help) { values[key] = value; this }
    ParameterList addBooleanParameter(String key, String prompt, boolean value, String help) { values[key] = value; this }
    ParameterList addDoubleParameter(String key, String prompt, double value, String unit, String help) { values[key] = value; this }
    def <S> ParameterList addChoiceParameter(String key, String prompt, S value, List<S> choices, String help) { assert value in choices; values[key] = value; this }
    String getStringParameterValue(String key) { values[key] }
    Boolean getBooleanParameterValue(String key) { values[key] }
    Double getDoubleParameterValue(String key) { values[key] }
    Object getChoiceParameterValue(String key) { values[key] }
}
