@echo off
rem Runs a command, in the folder of this file, where the newest C++ compiler of Visual Studio is.
if defined VCToolsInstallDir goto run
set "finder=%ProgramFiles(x86)%\Microsoft Visual Studio\Installer\vswhere.exe"
set "place="
if not exist "%finder%" goto nothing
set "workload=Microsoft.VisualStudio.Component.VC.Tools.x86.x64"
for /f "usebackq delims=" %%i in (`"%finder%" -latest -products * -requires %workload% -property installationPath`) do set "place=%%i"
if not defined place goto nothing
call "%place%\VC\Auxiliary\Build\vcvars64.bat" >nul
if errorlevel 1 goto nothing
:run
cd /d "%~dp0"
%*
exit /b
:nothing
echo Visual Studio 2017 or newer with "Desktop development with C++" is not installed here. 1>&2
exit /b 90
